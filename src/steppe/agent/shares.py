"""How many clients each of the agent's servers has at one time, and what each client may cost.

All together are fewer than half of the 1,024 files that a process may open by default: the others
are the agent's own, for the kernel, the API and the pods' namespaces. Where the process may open
fewer, each share is smaller (serving/listener.py).
"""

from steppe.serving.limits import Limits

PROXY_HEALTH = Limits(connections=128)
HEALTH_PORTS = Limits(connections=128)
"""Over all ports of all Services."""
METRICS = Limits(connections=32)
PROXY_MODE = Limits(connections=8)
AGENT_SOCKET = Limits(connections=64, head=10.0, body=4 << 20)
CNI_SOCKET = Limits(connections=128, head=15.0, body=2 << 20)
"""A runtime asks once a pod, and waits: these are the pods that may begin at one time. The server
says after 10 s that a request is not whole; only who does not take this answer is left."""
