"""A veth link as the kernel tells of it; pairs are made by netlink/link.py's create_veth."""

from collections.abc import Mapping

from steppe.state.device import Kind, Veth


def encoded(kind: Kind, lower: int) -> bytes:
    """Nothing: a pair is made whole, and the other end is no setting of this one."""
    del kind, lower
    return b""


def decoded(data: Mapping[int, bytes], names: Mapping[int, str]) -> Kind | None:
    del data, names
    return Veth()
