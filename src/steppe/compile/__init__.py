"""From the cluster to claims: what each object puts into each node's tables.

Decides which claims each API object makes on one node (node.py lists the kinds of object), and
keeps the settled tables current while objects change (incremental.py, policy_tables.py). It asks a
fabric and a data plane through their registries; it must not import a driver, the agent or the
client, and does no I/O.
"""
