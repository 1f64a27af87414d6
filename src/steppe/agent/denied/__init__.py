"""Packets that policies denied: counters, and a stream of samples.

Decides which pod and which policies a count or a sample belongs to. It reads the compiler's tables
and the kernel's counters, and must not import `node` or `cni`.
"""
