"""Steppe: a Kubernetes network you can see across."""
