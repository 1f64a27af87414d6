"""Why a packet arrives or does not: its path step by step, each with the object behind it.

What is promised, the oracle says; explain asks it about the part of the cluster that a flow can
meet and puts the answer into words. Must not import reach, lint or verify, which stand on it.
"""
