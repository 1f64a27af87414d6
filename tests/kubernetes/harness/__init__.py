"""A Kubernetes cluster on one machine: a node is namespaces with a containerd and a kubelet.

Invariant: whatever is made is found again by its name (`settings.PREFIX`: network namespaces,
cgroups), so `sweep` ends all of it, also what a killed run has left.
"""
