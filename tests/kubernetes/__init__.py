"""Real Kubernetes on this machine with Steppe as its only network: docs/kubernetes.md."""
