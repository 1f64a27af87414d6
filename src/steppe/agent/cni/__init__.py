"""Pods attached to the node and detached, as the container runtime asks.

Decides which address a pod gets, the steps of an attachment, and what a pod waits for before it
starts. Reaches the kernel by what drivers/namespaces.py promises, and tells the compiler and the
keeper of `node` what it has done. It must not import the feeds, nor what answers questions about
the agent (`answers`, `server`).
"""
