"""Packets that policies denied: counted, and told one by one to those who follow.

It reads the compiler's tables and the kernel's counters, and must not import `node` or `cni`.
"""
