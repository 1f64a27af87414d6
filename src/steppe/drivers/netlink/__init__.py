"""Our own thin rtnetlink(7): messages, sockets, and one module for each kind of object.

Why not pyroute2: docs/decisions/0004-netlink.md.
"""
