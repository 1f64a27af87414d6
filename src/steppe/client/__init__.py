"""A small Kubernetes API client: credentials, requests, and lists that stay current."""
