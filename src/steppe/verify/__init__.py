"""Which packets tell whether the network does as promised, and what counts as a mismatch.

Sends nothing itself. The prediction is the oracle's: it must not come from tables.
"""
