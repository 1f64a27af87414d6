"""From the cluster to claims: what each object puts into each node's tables."""
