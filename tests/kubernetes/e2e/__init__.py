"""Kubernetes' own e2e tests of networks: run by group, results kept, and a page made of them.

`results.json` holds the last result of each test; `page.py` makes docs/kubernetes-e2e.md of it.
"""
