"""Pods attached to the node and detached, as the container runtime asks."""
