"""Whether a connection is possible: the one answer that explain, reach, --assert, diff and lint
give.

It decides with guards and frontends (`policy`, `service`). The oracle shares nothing with it, and
tests compare the two packet by packet. It must not import those who ask it.
"""
