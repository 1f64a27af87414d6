"""How long `steppe verify` takes for every pair of a small lab, as a user would run it."""

import subprocess
import time
from collections.abc import Iterator

from bench.lab import NAME, lab, steppe
from bench.model import Benchmark, Result, Say, Target
from steppe_lab.record import read_record

TARGET = Target("verify, 3 nodes, 30 pods, all pairs, one port", 15.0, "s", at_most=True)
_PODS = 30
_MANIFEST = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {_PODS}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: echo, image: echo}}]}}
"""


def measure(say: Say) -> Iterator[Result]:
    say(f"  {_PODS} pods")
    with lab(3, manifest=_MANIFEST):
        kubeconfig = f"--kubeconfig={read_record(NAME).kubeconfig}"
        available = ("wait", "--for=condition=Available", "--timeout=120s", "deployment/web")
        subprocess.run(["kubectl", kubeconfig, *available], check=True, stdout=subprocess.DEVNULL)
        began = time.monotonic()
        steppe("verify", "--lab", NAME, "--all", "--port", "8080")
        yield Result(TARGET, time.monotonic() - began)


BENCHMARK = Benchmark((TARGET,), measure)
