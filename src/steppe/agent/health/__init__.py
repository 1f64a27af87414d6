"""What the agent tells over HTTP of its own health and its Services'.

It must not import the other rooms: what it is to tell is handed in.
"""
