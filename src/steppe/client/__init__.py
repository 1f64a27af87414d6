"""A small Kubernetes API client: typed lists, watches that reconnect, Leases and Events.

`config` finds credentials, `client` does HTTP, `informer` lists and watches, `mirror` keeps what an
agent knows of a kind, `store` and `workqueue` are for controllers that also write.

Decides when to retry, to resume a watch and to list again. It must not import anything that uses
the objects: no compiler, no driver, no agent.
"""
