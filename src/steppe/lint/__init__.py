"""Finds what has no effect in a cluster's policies and Services, or probably not the intended one.

It decides which findings to report; what rules allow comes from `reach`. It must not import verify
or read tables.
"""
