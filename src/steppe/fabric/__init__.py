"""The ways for nodes to reach each other's pods: one module each, one protocol for all.

`protocol` says what a fabric is, `registry` lists those there are. Nobody else names one, or asks
which one is in use. A fabric makes claims from Node objects and settings alone; it knows nothing of
Services and policies, and must not import them.
"""
