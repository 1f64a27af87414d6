"""What in a cluster's policies and Services has no effect, or not the one that was meant."""
