"""GENEVE devices in external mode (`ip link add … type geneve external`; IFLA_GENEVE_*)."""

from collections.abc import Mapping

from steppe.drivers.netlink import message as nl
from steppe.state.device import Geneve, Kind

_PORT = 5
_COLLECT_METADATA = 6


def encoded(kind: Kind, lower: int) -> bytes:
    if not isinstance(kind, Geneve):
        raise TypeError(f"not a geneve device: {kind!r}")
    del lower
    port = nl.attribute(_PORT, kind.port.to_bytes(2, "big"))
    return nl.attribute(_COLLECT_METADATA, b"") + port


def decoded(data: Mapping[int, bytes], names: Mapping[int, str]) -> Kind | None:
    """None for a device that has an end of its own."""
    del names
    if _COLLECT_METADATA not in data:
        return None
    return Geneve(int.from_bytes(data.get(_PORT, b""), "big"))
