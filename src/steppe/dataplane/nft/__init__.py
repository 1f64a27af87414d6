"""The nftables data plane: a fixed skeleton of chains, and elements in its sets and maps.

`plane` (Services) and `policy_plane` (policies) are what dataplane/registry.py lists; `sets`
declares every set and map, `skeleton` and the `*_chains` modules are the fixed rules. Only
dataplane/registry may import this package.
"""
