"""The embedded Kubernetes API server: enough of the API for kubectl and client libraries.

It imports nothing of the lab, and nothing of the network that is tried on it.
tests/apiserver/contract says what it promises, and runs against other servers too.
"""
