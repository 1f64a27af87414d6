"""The text that names the ends of a flow, and what it refers to in a cluster.

`parse.py` parses the text without a cluster; `target.py` finds the one sender or destination it
means. (reach/ends.py finds everyone it means.) It must import neither explain nor reach, which use
it.
"""
