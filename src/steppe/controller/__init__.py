"""The cluster daemon: pod prefixes for nodes that have none."""
