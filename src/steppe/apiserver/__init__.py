"""The embedded Kubernetes API server: enough of the API for kubectl, client-go and Python clients."""
