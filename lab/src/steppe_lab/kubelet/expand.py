"""The environment and command line of a container, with every reference replaced. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from steppe_lab.kubelet.records import Container, EnvVar, KeySelector, Pod

# "References … $(VAR_NAME) are expanded … Double $$ are reduced to a single $"
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['([^']*)'\]")

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unresolved(Exception):  # noqa: N818  named for what the user sees: CreateContainerConfigError
    """A reference of the pod leads nowhere; kubelet tells the user and tries again."""


class Addresses(msgspec.Struct, frozen=True):
    """The addresses a pod's downward API can name."""

    pod: tuple[str, ...] = ()
    host: tuple[str, ...] = ()


class Sources(msgspec.Struct, frozen=True):
    """The data of ConfigMaps and Secrets the pod refers to, by name; absent ones are not in it."""

    config_maps: Mapping[str, Mapping[str, bytes]] = {}
    secrets: Mapping[str, Mapping[str, bytes]] = {}


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` becomes its value, `$$` one dollar; an unknown reference stays as it is."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return env.get(name, match.group(0))

    return _REFERENCE.sub(value, text)


def field_value(path: str, pod: Pod, addresses: Addresses) -> str:
    """What a `fieldRef` stands for."""
    meta = pod.metadata
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript is not None:
        table = meta.labels if subscript.group(1) == "metadata.labels" else meta.annotations
        return table.get(subscript.group(2), "")
    values = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": addresses.pod[0] if addresses.pod else "",
        "status.podIPs": ",".join(addresses.pod),
        "status.hostIP": addresses.host[0] if addresses.host else "",
        "status.hostIPs": ",".join(addresses.host),
        # Whole tables are for volumes: one `key="value"` a line, as kubelet formats them.
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
    }
    if path not in values:
        raise Unresolved(f"fieldRef {path!r} is not supported")
    return values[path]


def _lines(table: Mapping[str, str]) -> str:
    return "\n".join(
        f"{key}={msgspec.json.encode(value).decode()}" for key, value in sorted(table.items())
    )


def environment(
    container: Container, pod: Pod, addresses: Addresses, sources: Sources
) -> dict[str, str]:
    """All variables of a container: `envFrom` first, then `env`, later ones win."""
    env: dict[str, str] = {"PATH": DEFAULT_PATH, "HOSTNAME": pod.hostname}
    for source in container.env_from:
        for kind, ref, known in (
            ("configmap", source.config_map_ref, sources.config_maps),
            ("secret", source.secret_ref, sources.secrets),
        ):
            if ref is None:
                continue
            if ref.name not in known and not ref.optional:
                raise Unresolved(f'{kind} "{ref.name}" not found')
            for key, value in known.get(ref.name, {}).items():
                env[source.prefix + key] = _text(value)
    for variable in container.env:
        value_ = _variable(variable, env, pod, addresses, sources)
        if value_ is not None:
            env[variable.name] = value_
    return env


def _variable(
    variable: EnvVar,
    env: Mapping[str, str],
    pod: Pod,
    addresses: Addresses,
    sources: Sources,
) -> str | None:
    source = variable.value_from
    if source is None:
        # "the previously defined environment variables in the container"
        return expand(variable.value, env)
    if source.field_ref is not None:
        return field_value(source.field_ref.field_path, pod, addresses)
    if source.config_map_key_ref is not None:
        return _key("configmap", source.config_map_key_ref, sources.config_maps)
    if source.secret_key_ref is not None:
        return _key("secret", source.secret_key_ref, sources.secrets)
    raise Unresolved(f"env {variable.name}: this kind of valueFrom is not supported in the lab")


def _key(kind: str, ref: KeySelector, known: Mapping[str, Mapping[str, bytes]]) -> str | None:
    if ref.name not in known:
        if ref.optional:
            return None
        raise Unresolved(f'{kind} "{ref.name}" not found')
    if ref.key not in known[ref.name]:
        if ref.optional:
            return None
        raise Unresolved(f"couldn't find key {ref.key} in {kind} {ref.name}")
    return _text(known[ref.name][ref.key])


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def references(pod: Pod) -> tuple[frozenset[str], frozenset[str]]:
    """The names of all ConfigMaps and all Secrets that a pod needs."""
    maps: set[str] = set()
    secrets: set[str] = set()
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        for source in container.env_from:
            maps |= {source.config_map_ref.name} if source.config_map_ref else set()
            secrets |= {source.secret_ref.name} if source.secret_ref else set()
        for variable in container.env:
            chosen = variable.value_from
            if chosen and chosen.config_map_key_ref:
                maps.add(chosen.config_map_key_ref.name)
            if chosen and chosen.secret_key_ref:
                secrets.add(chosen.secret_key_ref.name)
    for volume in pod.spec.volumes:
        maps |= {volume.config_map.name} if volume.config_map else set()
        secrets |= {volume.secret.secret_name} if volume.secret else set()
        for part in volume.projected.sources if volume.projected else ():
            maps |= {part.config_map.name} if part.config_map else set()
            secrets |= {part.secret.name} if part.secret else set()
    return frozenset(maps), frozenset(secrets)


def command_line(
    container: Container, image: tuple[str, ...], env: Mapping[str, Any]
) -> tuple[str, ...]:
    """`command` replaces the image's entry point; `args` without it are given to the image's."""
    head = container.command or image
    return tuple(expand(word, env) for word in (*head, *container.args))
