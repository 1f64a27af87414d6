"""The node's kernel kept in step with its desired tables.

Decides when the kernel is read and changed, and what of it is left to the CNI server. Reaches the
kernel by the Driver protocol only: nothing here imports a driver of any one table.
"""
