"""Serves the agent's health, its metrics and the health of Services over HTTP.

Decides the answers to load balancers and probes. It must not import the agent's other packages: its
values are passed in.
"""
