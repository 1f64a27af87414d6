"""A multi-node cluster network on one Linux machine: namespaces, kubelets, and the real agent.

A distribution of its own, steppe-lab. It uses steppe as a cluster does: it starts the real agent,
controller and CNI plugin as processes, and speaks to them through the API and CNI only. steppe
imports nothing of it; `steppe lab` and `steppe verify` are found by entry points (`cli`).
"""
