"""What policies mean: identities of peers, guards that judge them, and their rulings.

It decides nothing about how a node does it: no table of a kernel, no data plane is imported here.
"""
