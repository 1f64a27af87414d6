"""What Steppe reads of the Kubernetes API: wire shapes, checked objects, the cluster."""
