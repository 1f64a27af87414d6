"""Decides what that which a node has beside Steppe's tables does to the cluster's flows.

Pure: it judges what was read (state/surroundings.py). It must not import explain or anything that
does I/O. A new kind of finding is a module with a judge, and a line in registry.py.
"""
