"""The lab's kubelet: runs the pods of every node of a lab, in each node's network namespace.

It calls CNI plugins as container runtimes do, and knows nothing of Steppe's.
"""
