"""apps/v1 and batch/v1: the pod template, its selector, and what may not change."""

import re
from typing import Any

from steppe.admission.model import Json
from steppe.admission.validate.fields import Errors, labels
from steppe.admission.validate.meta import selector, selector_matches
from steppe.admission.validate.pod import pod_spec

_PERCENT = re.compile(r"[0-9]+%")


def _workload(errors: Errors, obj: Json, name: str) -> None:
    """The selector must be given and must select the template; the pods must restart."""
    spec = obj["spec"]
    template: Json = spec.get("template", {})
    found: Json | None = spec.get("selector")
    if found is None:
        errors.required("spec.selector")
    else:
        before = len(errors.found)
        selector(errors, "spec.selector", found)
        if not found:
            errors.invalid("spec.selector", found, f"empty selector is invalid for {name}")
        of = template.get("metadata", {}).get("labels", {})
        if len(errors.found) == before and not selector_matches(found, of):
            errors.invalid(
                "spec.template.metadata.labels", of, "`selector` does not match template `labels`"
            )
    labels(errors, "spec.template.metadata.labels", template.get("metadata", {}).get("labels", {}))
    pod_spec(errors, "spec.template.spec", template["spec"])
    if template["spec"].get("restartPolicy") in ("OnFailure", "Never"):
        errors.unsupported(
            "spec.template.spec.restartPolicy", template["spec"]["restartPolicy"], ("Always",)
        )
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        not_negative(errors, f"spec.{field}", spec.get(field, 0))


def not_negative(errors: Errors, field: str, value: int) -> None:
    if value < 0:
        errors.invalid(field, value, "must be greater than or equal to 0")


def deployment(errors: Errors, obj: Json) -> None:
    _workload(errors, obj, "deployment")
    strategy = obj["spec"]["strategy"]
    type_ = strategy["type"]
    if type_ not in ("Recreate", "RollingUpdate"):
        errors.unsupported("spec.strategy.type", type_, ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate")
    if type_ == "Recreate" and rolling is not None:
        errors.forbidden(
            "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"
        )
    elif rolling is not None:
        at = "spec.strategy.rollingUpdate"
        surge, gone = rolling.get("maxSurge"), rolling.get("maxUnavailable")
        share(errors, f"{at}.maxSurge", surge)
        share(errors, f"{at}.maxUnavailable", gone)
        if surge in (0, "0%") and gone in (0, "0%"):
            errors.invalid(f"{at}.maxUnavailable", gone, "may not be 0 when `maxSurge` is 0")


def share(errors: Errors, field: str, value: Any) -> None:
    """A number, or a percentage such as "25%"."""
    if isinstance(value, int):
        not_negative(errors, field, value)
    elif not isinstance(value, str) or not _PERCENT.fullmatch(value):
        errors.invalid(
            field,
            value,
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
            "'1%',  or '93%', regex used for validation is '[0-9]+%')",
        )


def replica_set(errors: Errors, obj: Json) -> None:
    _workload(errors, obj, "deployment")


def daemon_set(errors: Errors, obj: Json) -> None:
    _workload(errors, obj, "daemonset")
    type_ = obj["spec"]["updateStrategy"]["type"]
    errors.one_of("spec.updateStrategy.type", type_, ("OnDelete", "RollingUpdate"))


def stateful_set(errors: Errors, obj: Json) -> None:
    _workload(errors, obj, "statefulset")
    management = obj["spec"].get("podManagementPolicy")
    errors.one_of("spec.podManagementPolicy", management, ("OrderedReady", "Parallel"))


def selector_update(errors: Errors, old: Json, new: Json) -> None:
    errors.immutable("spec.selector", old["spec"].get("selector"), new["spec"].get("selector"))


_STATEFUL_MUTABLE = {
    "minReadySeconds",
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
    "replicas",
    "revisionHistoryLimit",
    "template",
    "updateStrategy",
}


def stateful_set_update(errors: Errors, old: Json, new: Json) -> None:
    fixed = {k: v for k, v in old["spec"].items() if k not in _STATEFUL_MUTABLE}
    if fixed != {k: v for k, v in new["spec"].items() if k not in _STATEFUL_MUTABLE}:
        errors.forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
            "'minReadySeconds' are forbidden",
        )


def job(errors: Errors, obj: Json) -> None:
    """The shape only: there is no Job controller here, which sets the selector."""
    template: Json = obj["spec"]["template"]["spec"]
    pod_spec(errors, "spec.template.spec", template)
    if template.get("restartPolicy") not in ("OnFailure", "Never"):
        errors.required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
