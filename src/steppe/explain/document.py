"""An explanation as JSON: `steppe.explain/v1`, for programs."""

from collections.abc import Iterable
from typing import Any

import msgspec

from steppe.explain.judged import fate_of
from steppe.explain.model import Case, Explanation, Patch, Path, Step
from steppe.explain.steps import step_text
from steppe.kube.cause import Cause
from steppe.net.packet import Packet
from steppe.oracle.policy import Decision

SCHEMA = "steppe.explain/v1"
Json = dict[str, Any]


def document(said: Explanation) -> Json:
    """The whole explanation; shares are fractions such as `1/3`."""
    flow = said.flow
    return {
        "schema": SCHEMA,
        "verdict": said.kind,
        "sentence": said.verdict,
        "basis": said.basis,
        "flow": {
            "source": str(flow.source),
            "destination": str(flow.destination),
            "protocol": flow.protocol,
            "port": flow.port or None,
        },
        "cases": [_case(case) for case in said.cases],
        "changes": [
            {
                "text": change.text,
                "objects": _causes(change.objects),
                "patches": [_patch(patch) for patch in change.patches],
            }
            for change in said.changes
        ],
        "notes": list(said.notes),
        "conflicts": list(said.conflicts),
        "unknown": list(said.unknown),
        "differences": [
            {
                "node": each.node,
                "entry": each.entry,
                "actual": each.actual or None,
                "desired": each.desired or None,
                "because": _causes(each.because),
            }
            for each in said.differences
        ],
        "doubts": [msgspec.to_builtins(each) for each in said.doubts],
    }


def _case(case: Case) -> Json:
    return {
        "standsFor": case.name,
        "verdict": case.kind,
        "packet": _packet(case.packet),
        "entering": case.entering or None,
        "paths": [{"fate": fate_of(case, path), **_path(path)} for path in case.paths],
    }


def _path(path: Path) -> Json:
    return {
        "share": str(path.share),
        "receiver": path.receiver,
        "received": _packet(path.received),
        "reason": path.reason or None,
        "egress": _decision(path.egress),
        "ingress": _decision(path.ingress),
        "decisive": _causes(path.decisive),
        "misses": [{"rule": _cause(miss.cause), "text": miss.text} for miss in path.misses],
        "steps": [_step(step) for step in path.steps],
        "reply": [_step(step) for step in path.reply],
        "mtu": None
        if path.mtu is None
        else {
            "bytes": path.mtu.bytes,
            "text": path.mtu.text,
            "because": _causes(path.mtu.because),
        },
    }


def _packet(packet: Packet) -> Json:
    return {
        "source": str(packet.source),
        "destination": str(packet.destination),
        "protocol": packet.protocol,
        "port": packet.destination_port or None,
    }


def _decision(decision: Decision) -> Json:
    return {
        "allowed": decision.allowed,
        "by": decision.by,
        "because": _causes(decision.because),
    }


def _step(step: Step) -> Json:
    return {
        "node": step.node or None,
        "stage": step.stage.value,
        "text": step_text(step.what),
        "because": _causes(step.because),
        "basis": "promise" if step.promised else "fact",
    }


def _patch(patch: Patch) -> Json:
    """An operation of a JSON patch, with the object that it is for."""
    ref = patch.object
    of = {"kind": ref.kind, "namespace": ref.namespace or None, "name": ref.name}
    return {"object": of, "op": "add", "path": patch.path, "value": patch.value}


def _causes(causes: Iterable[Cause]) -> list[Json]:
    return [_cause(cause) for cause in causes]


def _cause(cause: Cause) -> Json:
    return {
        "kind": cause.ref.kind,
        "namespace": cause.ref.namespace or None,
        "name": cause.ref.name,
        "field": cause.field or None,
    }
