"""Pods and pod templates: pkg/apis/core/validation.

The sources of volumes, affinity terms and security contexts are not looked into.
"""

from typing import Any

from steppe.admission.model import Json
from steppe.admission.validate.fields import (
    Errors,
    address,
    is_label,
    is_port_name,
    is_qualified_name,
    is_subdomain,
    labels,
    port,
)
from steppe.admission.validate.network import PROTOCOLS
from steppe.admission.validate.quantity import resources

_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_UPDATE_MESSAGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def pod(errors: Errors, obj: Json) -> None:
    pod_spec(errors, "spec", obj["spec"])


def pod_spec(errors: Errors, at: str, spec: Json) -> None:
    names: set[str] = set()
    volumes = _volumes(errors, f"{at}.volumes", spec.get("volumes", []))
    if not spec.get("containers"):
        errors.required(f"{at}.containers")
    for list_ in ("containers", "initContainers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(list_, ())):
            _container(errors, f"{at}.{list_}[{index}]", container, names, volumes, spec)
    _host_ports(errors, at, spec)
    policies = ("Always", "Never", "OnFailure")
    errors.one_of(f"{at}.restartPolicy", spec.get("restartPolicy"), policies)
    errors.one_of(f"{at}.dnsPolicy", spec.get("dnsPolicy"), _DNS)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        errors.invalid(
            f"{at}.terminationGracePeriodSeconds",
            spec["terminationGracePeriodSeconds"],
            "must be greater than or equal to 0",
        )
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            for message in is_label(spec[name]):
                errors.invalid(f"{at}.{name}", spec[name], message)
    for name in ("nodeName", "serviceAccountName"):
        if spec.get(name):
            for message in is_subdomain(spec[name]):
                errors.invalid(f"{at}.{name}", spec[name], message)
    labels(errors, f"{at}.nodeSelector", spec.get("nodeSelector", {}))
    tolerations(errors, f"{at}.tolerations", spec.get("tolerations", []))
    for index, alias in enumerate(spec.get("hostAliases", ())):
        address(errors, f"{at}.hostAliases[{index}].ip", alias.get("ip", ""))


def _volumes(errors: Errors, at: str, volumes: list[Json]) -> set[str]:
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        name = volume.get("name", "")
        if not name:
            errors.required(f"{at}[{index}].name")
        for message in is_label(name) if name else ():
            errors.invalid(f"{at}[{index}].name", name, message)
        if name in names:
            errors.duplicate(f"{at}[{index}].name", name)
        names.add(name)
        if len(volume) > 2:
            errors.forbidden(f"{at}[{index}]", "may not specify more than 1 volume type")
    return names


def _container(  # noqa: PLR0917 - the last two are what a container may refer to
    errors: Errors, at: str, container: Json, names: set[str], volumes: set[str], spec: Json
) -> None:
    name = container.get("name", "")
    if not name:
        errors.required(f"{at}.name")
    else:
        for message in is_label(name):
            errors.invalid(f"{at}.name", name, message)
        if name in names:
            errors.duplicate(f"{at}.name", name)
        names.add(name)
    if not container.get("image"):
        errors.required(f"{at}.image")
    elif container["image"] != container["image"].strip():
        errors.invalid(
            f"{at}.image", container["image"], "must not have leading or trailing whitespace"
        )
    pull = ("Always", "IfNotPresent", "Never")
    errors.one_of(f"{at}.imagePullPolicy", container.get("imagePullPolicy"), pull)
    _ports(errors, f"{at}.ports", container.get("ports", ()), host=spec.get("hostNetwork") is True)
    for index, variable in enumerate(container.get("env", ())):
        _variable(errors, f"{at}.env[{index}]", variable)
    mounts: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts", ())):
        _mount(errors, f"{at}.volumeMounts[{index}]", mount, mounts, volumes)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            _probe(errors, f"{at}.{probe}", container[probe], ready=probe == "readinessProbe")
    if container.get("resources"):
        resources(errors, f"{at}.resources", container["resources"])


def _ports(errors: Errors, at: str, ports: Any, *, host: bool) -> None:
    names: set[str] = set()
    for index, item in enumerate(ports):
        name, where = item.get("name", ""), f"{at}[{index}]"
        for message in is_port_name(name) if name else ():
            errors.invalid(f"{where}.name", name, message)
        if name and name in names:
            errors.duplicate(f"{where}.name", name)
        names.add(name)
        if not item.get("containerPort"):
            errors.required(f"{where}.containerPort")
        else:
            port(errors, f"{where}.containerPort", item["containerPort"])
        if item.get("hostPort"):
            port(errors, f"{where}.hostPort", item["hostPort"])
            if host and item["hostPort"] != item.get("containerPort"):
                errors.invalid(
                    f"{where}.hostPort",
                    item["hostPort"],
                    "must match `containerPort` when `hostNetwork` is true",
                )
        if item.get("protocol") not in PROTOCOLS:
            errors.unsupported(f"{where}.protocol", item.get("protocol"), PROTOCOLS)


def _host_ports(errors: Errors, at: str, spec: Json) -> None:
    seen: set[tuple[Any, ...]] = set()
    for number, container in enumerate(spec.get("containers", ())):
        for index, item in enumerate(container.get("ports", ())):
            if not item.get("hostPort"):
                continue
            key = (item.get("protocol"), item.get("hostIP", ""), item["hostPort"])
            if key in seen:
                errors.duplicate(
                    f"{at}.containers[{number}].ports[{index}].hostPort",
                    f"{key[0]}/{key[1]}/{key[2]}" if key[1] else f"{key[0]}//{key[2]}",
                )
            seen.add(key)


def _variable(errors: Errors, at: str, variable: Json) -> None:
    if not variable.get("name"):
        errors.required(f"{at}.name")
    elif "=" in variable["name"]:
        errors.invalid(
            f"{at}.name",
            variable["name"],
            "a valid environment variable name must "
            "consist only of printable ASCII characters other than '='",
        )
    source = variable.get("valueFrom")
    if source is None:
        return
    if variable.get("value"):
        errors.invalid(f"{at}.valueFrom", "", "may not be specified when `value` is not empty")
    if not source:
        errors.invalid(
            f"{at}.valueFrom",
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
            "`secretKeyRef` or `fileKeyRef`",
        )
    elif len(source) > 1:
        errors.invalid(
            f"{at}.valueFrom", "", "may not have more than one field specified at a time"
        )


def _mount(errors: Errors, at: str, mount: Json, taken: set[str], volumes: set[str]) -> None:
    if not mount.get("name"):
        errors.required(f"{at}.name")
    elif mount["name"] not in volumes:
        errors.not_found(f"{at}.name", mount["name"])
    path = mount.get("mountPath", "")
    if not path:
        errors.required(f"{at}.mountPath")
    elif path in taken:
        errors.invalid(f"{at}.mountPath", path, "must be unique")
    taken.add(path)


def _probe(errors: Errors, at: str, probe: Json, *, ready: bool) -> None:
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if name in probe]
    if not handlers:
        errors.required(at, "must specify a handler type")
    for name in handlers[1:]:
        errors.forbidden(f"{at}.{name}", "may not specify more than 1 handler type")
    for handler in ("httpGet", "tcpSocket"):
        if handler not in probe:
            continue
        number = probe[handler].get("port")
        if isinstance(number, str):
            for message in is_port_name(number):
                errors.invalid(f"{at}.{handler}.port", number, message)
        else:
            port(errors, f"{at}.{handler}.port", number)
    if "exec" in probe and not probe["exec"].get("command"):
        errors.required(f"{at}.exec.command")
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"):
        if probe.get(field, 0) < 0:
            errors.invalid(f"{at}.{field}", probe[field], "must be greater than or equal to 0")
    if not ready and probe.get("successThreshold", 1) != 1:
        errors.invalid(f"{at}.successThreshold", probe["successThreshold"], "must be 1")


def tolerations(errors: Errors, at: str, items: list[Json]) -> None:
    for index, item in enumerate(items):
        where, operator = f"{at}[{index}]", item.get("operator", "Equal")
        for message in is_qualified_name(item["key"]) if item.get("key") else ():
            errors.invalid(f"{where}.key", item["key"], message)
        if not item.get("key") and operator != "Exists":
            errors.invalid(
                f"{where}.operator",
                operator,
                "operator must be Exists when `key` is empty, which means "
                '"match all values and all keys"',
            )
        if operator not in ("Equal", "Exists"):
            errors.unsupported(f"{where}.operator", operator, ("Equal", "Exists"))
        elif operator == "Exists" and item.get("value"):
            errors.invalid(
                f"{where}.operator", operator, "value must be empty when `operator` is 'Exists'"
            )
        if item.get("effect") and item["effect"] not in _EFFECTS:
            errors.unsupported(f"{where}.effect", item["effect"], _EFFECTS)
        if "tolerationSeconds" in item and item.get("effect") != "NoExecute":
            errors.invalid(
                f"{where}.effect",
                item.get("effect", ""),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            )


def pod_update(errors: Errors, old: Json, new: Json) -> None:
    """ValidatePodUpdate: all but images, deadlines, added tolerations and gates is fixed."""
    before, after = _comparable(old["spec"]), _comparable(new["spec"])
    if before.get("schedulingGates") and not old["spec"].get("nodeName"):
        # A gated pod's node selection may still be narrowed; gates may only go.
        before.pop("nodeSelector", None), after.pop("nodeSelector", None)
        before.pop("affinity", None), after.pop("affinity", None)
    gates_before = [gate.get("name") for gate in before.pop("schedulingGates", ())]
    for gate in after.pop("schedulingGates", ()):
        if gate.get("name") not in gates_before:
            errors.forbidden(
                "spec.schedulingGates",
                f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
            )
    held = old["spec"].get("tolerations", [])
    if any(item not in new["spec"].get("tolerations", []) for item in held):
        errors.forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        )
    if before != after:
        errors.forbidden("spec", _UPDATE_MESSAGE)


def _comparable(spec: Json) -> Json:
    out = {
        name: value
        for name, value in spec.items()
        if name not in ("activeDeadlineSeconds", "tolerations")
    }
    for list_ in ("containers", "initContainers"):
        if list_ in out:
            out[list_] = [
                {name: value for name, value in item.items() if name != "image"}
                for item in out[list_]
            ]
    return out
