"""Keeps the node's kernel equal to the compiled tables (`keeper`), and acts on the results.

Decides when the kernel is read and changed. It uses the compiler, the Driver protocol and the
feeds. It must not import `cni`: work for cni, such as a lost link, is queued here until cni takes
it.
"""
