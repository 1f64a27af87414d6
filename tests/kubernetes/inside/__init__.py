"""Programs that run in a pod's network namespace. Standard library only."""
