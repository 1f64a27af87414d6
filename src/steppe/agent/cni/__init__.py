"""Pods' attachments: the CNI server, and what pods wait for before they start.

It tells the compiler and the keeper of `node` what it has done. It must not import what answers
questions about the agent (`answers`, `server`).
"""
