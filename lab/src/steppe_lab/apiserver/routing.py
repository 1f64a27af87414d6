"""What a URL asks for: a resource, an object, a subresource, or none of these.

/api/v1/namespaces/NS/pods/NAME/log        /apis/GROUP/VERSION/PLURAL/NAME
"""

import msgspec

from steppe_lab.apiserver.kinds import Kind
from steppe_lab.apiserver.registry import Registry

# /namespaces/NAME/finalize is a subresource, where /namespaces/NAME/pods is a collection.
_NAMESPACE_SUBRESOURCES = frozenset(("status", "finalize"))


class Target(msgspec.Struct, frozen=True):
    """The resource, and how narrowly it is addressed."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False
    rest: tuple[str, ...] = ()


def target(path: tuple[str, ...], registry: Registry) -> Target | None:
    """The target of a path below /api or /apis; None where nothing is served."""
    match path:
        case ("api", version, *rest):
            group = ""
        case ("apis", group, version, *rest):
            pass
        case _:
            return None
    watch = bool(rest) and rest[0] == "watch"
    if watch:
        rest = rest[1:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and not _names_a_namespace(rest):
        namespace, rest = rest[1], rest[2:]
    if not rest:
        return None
    kind = registry.find(group, version, rest[0])
    if kind is None or (namespace and not kind.namespaced):
        return None
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if name and kind.namespaced and not namespace:
        return None
    return Target(kind, namespace, name, subresource, watch, tuple(rest[3:]))


def _names_a_namespace(rest: list[str]) -> bool:
    return len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES
