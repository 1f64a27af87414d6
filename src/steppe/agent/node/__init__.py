"""The node's kernel kept in step with its desired tables."""
