"""The root of Steppe's own exceptions.

User input never raises: it becomes a `Problem` (kube/cause.py). These are for I/O that failed
and for bad usage, and each says what it was doing and what would cure it.
"""


class SteppeError(Exception):
    """Something outside Steppe refused; the message says what, why, and any known cure."""
