"""Pods attached to the node and detached, as the container runtime asks.

Decides which address a pod gets and the steps of an attachment. Reaches the kernel by what
drivers/namespaces.py promises; knows neither the feeds nor the keeper, and tells them by `Watcher`.
"""
