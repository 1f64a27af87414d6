"""Clusters from manifests: adds to decoded manifests the objects that a real cluster would add.

It decides which pods, nodes, addresses and endpoints are invented. `endpoint_plan.py` and
`service_numbers.py` are used by the lab's controllers and API server too. It must import neither
the oracle nor anything about tables: it does not judge flows.
"""
