"""What an agent reports of its node, for people without a login there: one Lease a node.

    Lease steppe-status/steppe-agent-NODE
      metadata.annotations["steppe.dev/status"]   the agent's status, shortened, as JSON
      metadata.ownerReferences                    the Node: deleted with it
      spec.renewTime, leaseDurationSeconds        how long the report may be believed

A Lease is what Kubernetes has for heartbeats: cheap to write, and followed by nobody here. The API
server's authentication and RBAC decide who reads it (docs/decisions/0040-cluster-wide-status.md).
"""

import datetime as dt
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from steppe.client.leases import LeaseSpec, micro_time
from steppe.client.resources import LEASES, NODES
from steppe.kube.wire import ObjectMeta

NAMESPACE = "steppe-status"
"""A namespace of its own: who may write here may write no other component's Leases."""
LABEL, LABELLED = "steppe.dev/report", "agent"
ANNOTATION = "steppe.dev/status"
RENEW_SECONDS = 60
"""Seconds between two reports of a node on which nothing changes."""
FRESH_SECONDS = 150
"""How long a report may be believed: two may be lost."""
FUTURE_SECONDS = 60
"""A report from further in the future than this has a wrong clock behind it."""
MOST_ROWS = 50
MOST_CHARACTERS = 500
_NAME_LIMIT = 253  # RFC 1123 subdomain

Answer = dict[str, Any]


class Lease(msgspec.Struct, frozen=True):
    """The fields in use of coordination.k8s.io/v1 Lease."""

    metadata: ObjectMeta
    spec: LeaseSpec = LeaseSpec()


def lease_name(node: str) -> str:
    """The name of a node's report; an overlong one is cut and hashed."""
    name = f"steppe-agent-{node}"
    if len(name) <= _NAME_LIMIT:
        return name
    return f"{name[: _NAME_LIMIT - 9]}-{sha256(node.encode()).hexdigest()[:8]}"


def shortened(status: Mapping[str, Any]) -> Answer:
    """An agent's status as it is reported: at most MOST_ROWS Problems and refused entries.

    `status` has no entries that are only on their way to the kernel: a minute later, when somebody
    reads it, that says nothing.
    """
    refused = status["notInKernel"]
    problems = status["problems"]
    api = {key: status["api"][key] for key in ("inSync", "lastError")}
    return {
        **{key: value for key, value in status.items() if key != "uptimeSeconds"},
        "reason": status["reason"][:MOST_CHARACTERS],
        "api": api | {"lastError": api["lastError"][:MOST_CHARACTERS]},
        "notInKernel": [_short(row, "table", "key", "state") for row in refused[:MOST_ROWS]],
        "problems": [_short(each, "object", "field", "message") for each in problems[:MOST_ROWS]],
        "leftOut": max(0, len(refused) - MOST_ROWS) + max(0, len(problems) - MOST_ROWS),
    }


def _short(row: Mapping[str, Any], *keys: str) -> dict[str, str]:
    return {key: str(row[key])[:MOST_CHARACTERS] for key in keys}


def report(status: Mapping[str, Any], node_uid: str) -> Answer:
    """The Lease that an agent writes by server-side apply."""
    node = status["node"]
    owner = {"apiVersion": NODES.api_version, "kind": NODES.kind, "name": node, "uid": node_uid}
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {
            "name": lease_name(node),
            "namespace": NAMESPACE,
            "labels": {LABEL: LABELLED},
            "annotations": {ANNOTATION: msgspec.json.encode(shortened(status)).decode()},
            "ownerReferences": [owner],
        },
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": FRESH_SECONDS,
            "renewTime": micro_time(),
        },
    }


def answer(node: str, lease: Lease | None, now: dt.datetime) -> Answer:
    """A node's status with `reportedSecondsAgo`, or an `error` with why it is not known."""
    told: Answer = {"node": node}
    if lease is None:
        return told | {"error": f"no report: {_CURE}"}
    try:
        renewed = dt.datetime.fromisoformat(lease.spec.renew_time or "")
        status = msgspec.json.decode((lease.metadata.annotations or {})[ANNOTATION], type=Answer)
        age = (now - renewed).total_seconds()
    except (ValueError, TypeError, KeyError, msgspec.MsgspecError) as error:
        return told | {"error": f"the report in Lease {lease_name(node)} is not readable: {error}"}
    if status.get("node") != node or status.get("schema") != "steppe.agent-status/v1":
        return told | {"error": f"the report in Lease {lease_name(node)} is not this node's"}
    told["reportedSecondsAgo"] = round(age, 1)
    if age > (lease.spec.lease_duration_seconds or 0):
        return told | {"error": f"the last report came {duration(age)} ago: {_CURE}"}
    if age < -FUTURE_SECONDS:
        return told | {"error": f"the report is {duration(-age)} ahead: the node's clock is wrong"}
    return status | told


_CURE = (
    "its agent does not run, does not reach the API server, or may not write Leases in "
    f"{NAMESPACE}; ask it on its node: steppe status"
)


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two at least: 90 s, 7 min, 3 h."""
    if seconds < 2 * 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.0f} h"
