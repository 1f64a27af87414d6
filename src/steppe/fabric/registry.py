"""All fabrics, by the name that operators use.

To add one: a module with the members that protocol.py lists, and a line in FABRICS.
"""

from collections.abc import Iterator

from steppe.fabric import bgp, direct, geneve, gre, ipip, vxlan
from steppe.fabric.auto import Auto
from steppe.fabric.protocol import Fabric, Need, Option
from steppe.settings import Settings

FABRICS: dict[str, Fabric] = {
    "auto": Auto({"direct": direct, "vxlan": vxlan}),
    "direct": direct,
    "vxlan": vxlan,
    "ipip": ipip,
    "auto-ipip": Auto({"direct": direct, "ipip": ipip}),
    "gre": gre,
    "auto-gre": Auto({"direct": direct, "gre": gre}),
    "geneve": geneve,
    "auto-geneve": Auto({"direct": direct, "geneve": geneve}),
    "bgp": bgp,
}
"""A test may add its own."""
BY_SESSIONS = frozenset({"bgp"})
"""Fabrics whose nodes have BGP sessions."""


class UnknownFabricError(ValueError):
    """Settings name a fabric that this version does not have."""


def fabric_of(settings: Settings) -> Fabric:
    """The fabric that these settings choose; UnknownFabricError if there is none of that name."""
    try:
        return FABRICS[settings.fabric]
    except KeyError:
        names = ", ".join(FABRICS)
        message = f"there is no fabric {settings.fabric!r}; choose one of {names}"
        raise UnknownFabricError(message) from None


def speaks_bgp(settings: Settings) -> bool:
    """Whether the fabric that these settings choose needs BGP sessions between nodes."""
    return settings.fabric in BY_SESSIONS


def summaries() -> str:
    """The name and summary of each fabric, for a command's help."""
    return "; ".join(f"{name}: {fabric.summary}" for name, fabric in FABRICS.items())


def all_options() -> Iterator[Option]:
    """The options of every fabric, each once."""
    yield from dict.fromkeys(o for fabric in FABRICS.values() for o in fabric.options)


def all_needs() -> Iterator[Need]:
    """The kinds of device that any fabric needs, each once."""
    yield from dict.fromkeys(n for fabric in FABRICS.values() for n in fabric.needs)


def default_needs() -> tuple[Need, ...]:
    """Those of the fabric that is used where nobody chooses."""
    return fabric_of(Settings()).needs
