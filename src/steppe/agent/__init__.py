"""The daemon on each node: makes the kernel agree with the cluster."""
