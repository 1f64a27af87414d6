"""apps/v1 and batch/v1: pkg/apis/apps/v1/defaults.go, pkg/apis/batch/v1/defaults.go."""

from steppe.admission.defaults.fill import fill
from steppe.admission.defaults.pod import template
from steppe.admission.model import Json


def deployment(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        fill(rolling, maxUnavailable="25%", maxSurge="25%")
    template(spec)
    obj.setdefault("status", {})


def replica_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    fill(spec, replicas=1)
    template(spec)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def daemon_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    fill(spec, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(strategy.setdefault("rollingUpdate", {}), maxUnavailable=1, maxSurge=0)
    template(spec)
    status = obj.setdefault("status", {})
    for count in ("current", "desired"):
        status.setdefault(f"{count}NumberScheduled", 0)
    status.setdefault("numberMisscheduled", 0)
    status.setdefault("numberReady", 0)


def stateful_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    fill(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(strategy.setdefault("rollingUpdate", {}), partition=0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    fill(retention, whenDeleted="Retain", whenScaled="Retain")
    template(spec)
    status = obj.setdefault("status", {})
    status.setdefault("replicas", 0)
    status.setdefault("availableReplicas", 0)


def job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    # "For a non-parallel Job, you can leave both unset. When both are unset, both default to 1."
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    fill(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="TerminatingOrFailed",
    )
    template(spec)
    obj.setdefault("status", {})
