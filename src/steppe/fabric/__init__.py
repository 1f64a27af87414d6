"""Fabrics: how the nodes reach each other's pods; one module for each, with one protocol.

`protocol` defines what a fabric is, `registry` lists the fabrics. No code outside this package
names a fabric or asks which one is in use. A fabric decides the claims for reaching peers, from
Node objects and settings alone; it must not import Services or policies.
"""
