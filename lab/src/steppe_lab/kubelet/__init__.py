"""The lab's kubelet: runs the pods of every node of a lab, in each node's network namespace."""
