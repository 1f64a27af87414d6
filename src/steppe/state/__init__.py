"""The keys and values of a node's tables, and the claims that become their entries.

Decides the types of all tables (a module for each kind of table) and how claims to one key settle.
Keys and values print as the kernel's own commands show them. It must not import what makes claims
(`compile`, `fabric`, `dataplane`) or what reads and changes a kernel (`drivers`).
"""
