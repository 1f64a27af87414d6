"""What Services mean: which backends each frontend leads to (table.py), and who has a frontend.

It decides nothing about how a node does it: no table of a kernel, no data plane is imported here.
"""
