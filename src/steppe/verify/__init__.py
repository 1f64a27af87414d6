"""Decides which packets to send to check a real network, and which results are mismatches.

It sends nothing itself. Predictions come from the oracle: it must not import tables, walk or
compile.
"""
