"""Which objects an API server takes, and what it makes of them: shapes, defaults, rules.

It decides nothing about networks. Two have it in common: manifests that are read offline
(`manifests/checked.py`) and the lab's API server. Everything here is a pure function of objects.
"""
