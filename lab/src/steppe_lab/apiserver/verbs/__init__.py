"""The verbs of the API, one module each: read, watch, write, delete, and the subresources."""
