"""Addresses, prefixes and packets: plain values that know nothing of Kubernetes or kernels."""
