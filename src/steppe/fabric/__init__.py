"""The ways for nodes to reach each other's pods: one module each, one protocol for all."""
