"""The cluster daemon: gives every node its pod prefixes, one of each family.

`prefixes` decides (pure), `podcidrs` carries it out, `health` tells how it goes.
"""
