"""What steppe-lab adds to the command line: `steppe lab`, `steppe verify`, and labs as clusters.

`lab/pyproject.toml` names these as entry points; `steppe.cli.plugins` finds them there.
"""
