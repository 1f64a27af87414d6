"""Contact with BIRD 2: its control socket, its process, its configuration file.

The text of the configuration is made by bgp/render.py; this package does not look into it.
"""
