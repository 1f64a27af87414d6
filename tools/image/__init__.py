"""Builds the OCI image of agent and controller from Debian packages and wheels, without a Docker
engine: `make image`. docs/decisions/0038-image-and-chart.md says why it is as it is.
"""
