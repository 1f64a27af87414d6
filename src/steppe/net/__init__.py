"""Addresses, prefixes, ports and packets: plain values that know nothing of Kubernetes or kernels.

Imports nothing of Steppe.
"""
