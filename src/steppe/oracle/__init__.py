"""What Kubernetes promises of a packet, written from the API text alone: the independent oracle."""
