"""Packets that policies denied: counted, and shown on request."""
