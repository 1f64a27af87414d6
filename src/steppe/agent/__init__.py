"""The daemon on each node: makes the kernel agree with the cluster.

`daemon` wires its rooms: `feeds` (API → compiler), `node` (compiler ↔ kernel), `cni` (attaching
pods), `denied` and `health`. Decides when the kernel is read and changed, and what is reported.
What is written there is decided by the compiler; only drivers talk to the kernel. It must not
import the CLI or the lab.
"""
