"""Keeps the compiler's objects those of the API: one feed for one or a few kinds of object.

Decides when a list is complete enough to be used, and what an incomplete view keeps. It writes to
the compiler only; it must not import `node`, `cni` or a driver.
"""
