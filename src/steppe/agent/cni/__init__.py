"""Attaches pods to the node and detaches them, on request of the container runtime.

Decides which address a pod gets, the steps of an attachment, and how long a pod waits for its
policies. Uses the kernel through drivers/namespaces.py, and reports each attachment to the compiler
and to the keeper in `node`. It must not import the feeds, `answers` or `server`.
"""
