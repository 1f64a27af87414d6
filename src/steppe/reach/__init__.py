"""Who reaches whom on which ports, for all pairs, by groups of ends that no policy distinguishes.

It decides with guards and frontends (`policy`, `service`), not with the oracle; tests compare the
two. It must not import lint or verify, which use it.
"""
