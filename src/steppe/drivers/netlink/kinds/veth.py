"""A veth link as read from the kernel; pairs are made by create_veth in netlink/link.py."""

from collections.abc import Mapping

from steppe.state.device import Kind, Veth


def encoded(kind: Kind, lower: int) -> bytes:
    """No attributes: a pair is made as a whole, and the other end is not a setting of this one."""
    del kind, lower
    return b""


def decoded(data: Mapping[int, bytes], names: Mapping[int, str]) -> Kind | None:
    del data, names
    return Veth()
