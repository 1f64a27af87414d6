"""What Kubernetes promises for a packet, written from the API text alone: the independent oracle.

It decides what must happen to a packet; start reading at `promised_path.py`. It must import nothing
but `net` and `kube`: tests compare it with tables, guards and frontends, and code shared with them
would put the same fault on both sides.
"""
