"""What Steppe reads of the Kubernetes API: wire shapes, checked objects, the cluster.

It decides which fields are valid: an invalid one becomes a Problem, and the rest of its object is
used. It does not decide what objects mean for packets. It imports `net` alone.
"""
