"""Walks a packet through nodes' tables, step by step, each step with its cause.

It decides what kernels with these tables would do. It must not import the oracle, which says what
they should do, nor anything that makes the tables.
"""
