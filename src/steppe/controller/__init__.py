"""The cluster daemon: gives every node its pod prefixes, one of each family.

`prefixes` decides which node gets which prefix (pure), `podcidrs` writes them to the API, `health`
serves health and metrics. It uses only the API client; it must not import the agent, a driver or a
compiler.
"""
