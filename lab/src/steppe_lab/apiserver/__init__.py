"""The embedded Kubernetes API server: enough of the API for kubectl and client libraries."""
