"""Subresources: status and finalize are partial updates; binding and eviction are actions."""

from collections.abc import Callable, Mapping

from steppe.admission.model import Json
from steppe.kube.selectors import Requirement, Selector, labels_are
from steppe_lab.apiserver import scale
from steppe_lab.apiserver.api import Api, Call, Reply
from steppe_lab.apiserver.negotiation import decode_object, encode
from steppe_lab.apiserver.routing import Target
from steppe_lab.apiserver.status import (
    StatusError,
    bad_request,
    conflict,
    method_not_allowed,
    page_not_found,
)
from steppe_lab.apiserver.verbs import patch, read, write
from steppe_lab.apiserver.verbs.delete import delete_object, parse_options

Handler = Callable[[Api, Call], Reply]

_CREATED: Json = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": 201,
}


def bind(api: Api, call: Call) -> Reply:
    """Put a pod on a node; what the scheduler does instead of writing spec.nodeName."""
    target = call.target
    current = api.find(target.kind, target.namespace, target.name)
    binding = decode_object(call.body, call.content_type)
    node = (binding.get("target") or {}).get("name")
    if not isinstance(node, str) or not node:
        raise bad_request("binding.target.name must name a node")
    uid = (binding.get("metadata") or {}).get("uid")
    write.check_preconditions(target.kind, current, {"uid": uid} if uid else {})
    pod = current.copy()
    if "deletionTimestamp" in pod["metadata"]:
        raise conflict(target.kind, target.name, f"pod {target.name} is being deleted")
    if pod["spec"].get("nodeName"):
        why = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        raise conflict(target.kind, target.name, why)
    pod["spec"]["nodeName"] = node
    status = pod.setdefault("status", {})
    others = [entry for entry in status.get("conditions") or [] if entry["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": api.now()}
    status["conditions"] = [*others, scheduled]
    write.replace(api, call, current, pod)
    return Reply(encode(_CREATED), 201)


def evict(api: Api, call: Call) -> Reply:
    """Delete a pod, unless a PodDisruptionBudget says that none may go now."""
    target = call.target
    current = api.find(target.kind, target.namespace, target.name)
    eviction = decode_object(call.body, call.content_type)
    options = parse_options(eviction.get("deleteOptions") or {}, call)
    _respect_budgets(api, target, current.object["metadata"].get("labels") or {})
    delete_object(api, target.kind, current, options)
    return Reply(encode(_CREATED), 201)


def _respect_budgets(api: Api, target: Target, labels: Mapping[str, str]) -> None:
    budgets = api.store.collection("poddisruptionbudgets.policy").records
    for (namespace, name), budget in budgets.items():
        selector = budget.object.get("spec", {}).get("selector")
        if namespace != target.namespace or selector is None:
            continue
        status = budget.object.get("status") or {}
        if _selects(selector, labels) and not status.get("disruptionsAllowed"):
            message = "Cannot evict pod as it would violate the pod's disruption budget."
            cause = {
                "reason": "DisruptionBudget",
                "message": f"The disruption budget {name} allows no disruption now",
            }
            raise StatusError(429, "TooManyRequests", message, {"causes": [cause]})


def _selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """metav1.LabelSelector: all of matchLabels and matchExpressions; an empty one matches all."""
    wanted = [
        Requirement(each["key"], each["operator"], frozenset(each.get("values") or ()))
        for each in selector.get("matchExpressions") or []
    ]
    equal = labels_are(selector.get("matchLabels") or {})
    return equal.matches(labels) and Selector(tuple(wanted)).matches(labels)


def unsupported_stream(api: Api, call: Call) -> Reply:
    """Logs and streams need a way from here to the kubelets, which the lab does not have."""
    name, namespace = call.target.name, call.target.namespace
    api.find(call.target.kind, namespace, name)
    what = call.target.subresource
    raise StatusError(
        404,
        "NotFound",
        f"{what} is not supported by the lab's API server: "
        f"use `steppe lab exec {namespace}/{name} -- COMMAND`",
        {},
    )


_PARTIAL: Mapping[str, Handler] = {
    "GET": read.get,
    "PUT": write.update,
    "PATCH": patch.patch,
}
_HANDLERS: Mapping[str, Mapping[str, Handler]] = {
    "status": _PARTIAL,
    "finalize": {"PUT": write.update},
    "ephemeralcontainers": _PARTIAL,
    "scale": {"GET": scale.get, "PUT": scale.update, "PATCH": scale.patch},
    "binding": {"POST": bind},
    "eviction": {"POST": evict},
    "log": {"GET": unsupported_stream},
    "exec": {"GET": unsupported_stream, "POST": unsupported_stream},
    "attach": {"GET": unsupported_stream, "POST": unsupported_stream},
    "portforward": {"GET": unsupported_stream, "POST": unsupported_stream},
}


def handler(target: Target, method: str) -> Handler:
    """The handler of a subresource that this kind has."""
    if target.rest or target.subresource not in target.kind.subresources:
        raise page_not_found()
    methods = _HANDLERS.get(target.subresource)
    if methods is None:
        raise page_not_found()
    found = methods.get(method)
    if found is None:
        raise method_not_allowed(target.kind, method.lower())
    return found
