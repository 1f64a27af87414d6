"""Tables as JSON and back, so that one node's tables can be walked on another machine.

    {"is": "RouteKey", "prefix": {"prefix": "10.244.2.0/24"}, "routing_table": 254, "metric": 1024}

An address, prefix or interface is written as an object with one member that names its type, because
msgspec cannot decode a union of both families (its issue 106).
"""

from collections.abc import Iterable
from typing import Any, get_args

import msgspec

from steppe.kube.cause import Cause, ObjectRef
from steppe.kube.kinds import is_known
from steppe.net.address import (
    IPAddress,
    IPInterface,
    IPNetwork,
    parse_address,
    parse_interface,
    parse_prefix,
)
from steppe.state.device import KINDS
from steppe.state.nft import ElementKey
from steppe.state.node import Key, Value
from steppe.state.route import Encap, Hop
from steppe.state.surroundings import SURROUNDING, Surroundings

Json = Any

_SHAPES = {
    shape.__name__: shape
    for shape in (*get_args(Key), *get_args(Value), Hop, Encap, *SURROUNDING, Cause, ObjectRef)
}
_WORDS = {"address": parse_address, "prefix": parse_prefix, "interface": parse_interface}


class KeyState(msgspec.Struct, frozen=True):
    """The actual and the desired value of one key; None if there is no entry."""

    key: Key
    actual: Value | None
    desired: Value | None
    because: tuple[Cause, ...] = ()


def key_state_document(state: KeyState) -> Json:
    return {
        "key": _written(state.key),
        "actual": _written(state.actual),
        "desired": _written(state.desired),
        "because": [_cause(cause) for cause in state.because],
    }


def key_state_from(document: Json) -> KeyState:
    """What `key_state_document` wrote; ValueError, KeyError or TypeError for anything else."""
    because = (_cause_from(*words) for words in document["because"])
    return KeyState(
        key=_read(document["key"]),
        actual=_read(document["actual"]),
        desired=_read(document["desired"]),
        because=tuple(because),
    )


def surroundings_document(found: Surroundings) -> Json:
    """What a node has beside the tables."""
    return _written(found)


def surroundings_from(document: Json) -> Surroundings:
    """What `surroundings_document` wrote; ValueError, KeyError or TypeError for anything else."""
    found = _read(document)
    if not isinstance(found, Surroundings):
        raise TypeError("not a node's surroundings")
    return found


def _cause(cause: Cause) -> Json:
    """Kind, namespace, name and field; then the group, where it is not the kind's own."""
    ref = cause.ref
    words = [ref.kind, ref.namespace, ref.name, cause.field]
    return words if is_known(ref.kind, ref.group) else [*words, ref.group]


def _cause_from(kind: str, namespace: str, name: str, field: str, *group: str) -> Cause:
    return Cause(ObjectRef(kind, namespace, name, *group), field)


def concerns(key: Key, addresses: frozenset[IPAddress]) -> bool:
    """Whether traffic from or to these addresses may use the entry under this key.

    True for all keys but those of elements that name addresses or prefixes: there one of them must
    be, or contain, one of these addresses.
    """
    if not isinstance(key, ElementKey):
        return True
    named = [atom for atom in key.key if not isinstance(atom, int | str)]
    return not named or any(_is_among(atom, addresses) for atom in named)


def _is_among(atom: IPAddress | IPNetwork, addresses: Iterable[IPAddress]) -> bool:
    if isinstance(atom, IPAddress):
        return atom in addresses
    return any(address in atom for address in addresses)


def _written(value: object) -> Json:
    if isinstance(value, IPInterface):  # a subclass of the addresses, so it is tested first
        return {"interface": str(value)}
    if isinstance(value, IPNetwork):
        return {"prefix": str(value)}
    if isinstance(value, IPAddress):
        return {"address": str(value)}
    if isinstance(value, msgspec.Struct):
        fields = {name: _written(getattr(value, name)) for name in value.__struct_fields__}
        return {"is": type(value).__name__} | fields
    if isinstance(value, tuple):
        return [_written(each) for each in value]
    return value


def _read(document: Json) -> Any:
    if isinstance(document, list):
        return tuple(_read(each) for each in document)
    if not isinstance(document, dict):
        return document
    if "is" in document:
        fields = {name: _read(value) for name, value in document.items() if name != "is"}
        return _shape(document["is"])(**fields)
    ((word, text),) = document.items()
    return _WORDS[word](text)


def _shape(name: str) -> type:
    """The class with this name among keys, values and kinds of link."""
    known = _SHAPES.get(name)
    return known or next(kind for kind in KINDS.values() if kind.__name__ == name)
