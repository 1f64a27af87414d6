"""deploy/steppe.yaml, as an API server reads it."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "deploy" / "steppe.yaml"


@cache
def documents() -> tuple[dict[str, Any], ...]:
    return tuple(d for d in yaml.safe_load_all(MANIFEST.read_text()) if d)


def of_kind(kind: str, name: str = "") -> list[dict[str, Any]]:
    """The objects of a kind, all or those with this name."""
    found = [d for d in documents() if d["kind"] == kind]
    return [d for d in found if not name or d["metadata"]["name"] == name]


def container(kind: str, name: str) -> dict[str, Any]:
    """The only container of a workload."""
    (workload,) = of_kind(kind, name)
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(found)
