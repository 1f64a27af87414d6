"""BGP: which sessions a node has, what it announces, what it takes; and BIRD's configuration.

    BGPSettings, BGPPeers, Nodes, Services ──▶ sessions, announcements, filters ──render──▶ text

`objects` reads the API's kinds, `tables` defines the tables, `compile` fills them, `render` writes
them down for BIRD 2. Everything here is pure.
"""
