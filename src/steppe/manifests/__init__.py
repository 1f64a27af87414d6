"""Imagined clusters: from decoded manifests to the objects that a real cluster would have.

`endpoint_plan.py` and `service_numbers.py` say what a cluster makes of objects, for the lab's
controllers and API server as well. Imports no judgement of flows: neither the oracle nor tables.
"""
