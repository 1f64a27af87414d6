"""What Kubernetes promises of a packet, written from the API text alone: the independent oracle.

Start at `promised_path.py`. It imports `net` and `kube` and nothing else: what it is held against
(tables, guards, frontends) must not be able to lend it their faults.
"""
