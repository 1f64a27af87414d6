"""What in a cluster's policies and Services has no effect, or not the one that was meant.

Whether a rule makes a difference is reach's to say. Must not import verify, or read tables.
"""
