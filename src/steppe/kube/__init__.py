"""What Steppe reads of the Kubernetes API: wire shapes, checked objects, the cluster.

An object that is wrong becomes Problems and stays in use as far as it can be. What objects mean for
packets is not decided here; imports `net` alone.
"""
