"""Reads what a network namespace has beside Steppe's tables (state/surroundings.py). Read only.

Each module reads one kind of thing, in the namespace of the calling thread; `registry.py` lists
them. What the findings are is judged in steppe.findings.
"""
