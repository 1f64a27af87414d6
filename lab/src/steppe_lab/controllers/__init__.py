"""What kube-scheduler and kube-controller-manager do, as far as a lab needs it.

One module a controller, each through the public API only, so that they work against any API server.
Each one is a pure function from the observed objects to the changes to make, called from a work
queue (client/workqueue.py) that shared watches fill (`world.World`). What is left out: resource
requests, volumes, quotas, Jobs, and everything of the cloud.
"""
