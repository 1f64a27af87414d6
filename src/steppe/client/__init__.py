"""A small Kubernetes API client: typed lists, watches that survive, Leases and Events.

`config` finds credentials, `client` speaks HTTP, `informer` keeps a list in step with the server,
`store` and `workqueue` are what level-triggered controllers stand on.
"""
