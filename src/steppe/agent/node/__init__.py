"""The node's own kernel against its tables: the keeper, what it is told, and what follows.

Decides when the kernel is read and changed. It knows the compiler, reaches the kernel by the Driver
protocol, and hears of the API by feeds. It must not import `cni`: what cni has to do, as for a lost
pod, waits here until it is taken.
"""
