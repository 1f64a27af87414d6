"""What kube-scheduler and kube-controller-manager do, as far as a lab needs it.

One module a controller, each through the public API only, so that they work against any API server.
In the middle of each stands a pure function from what is observed to what should be done; around it
a work queue (client/workqueue.py) fed by shared watches (`world.World`). What is left out: resource
requests, volumes, quotas, Jobs, and everything of the cloud.
"""
