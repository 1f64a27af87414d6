"""Data planes: each turns rulings of policies and service tables into claims on table entries.

Decides how a frontend, its backends and a guard look in the kernel. `registry` has the protocols
and the list of data planes; no other package imports `nft`. It must not import `compile`, drivers
or the agent.
"""
