"""The entries of a namespace that a driver reads and changes: all others are left alone."""

import re

import msgspec

from steppe.state.route import PROTOCOL

# Pod links (state/workload.py: "st" and ten letters of base32) and the fabrics' devices.
_OWN_LINK = re.compile(r"st[a-z2-7]{10}|steppe-[a-z0-9-]{1,8}")


class Scope(msgspec.Struct, frozen=True):
    """Links by name, routes and rules by protocol; an empty link means Steppe's own names."""

    link: str = ""
    protocol: int = PROTOCOL

    def has_link(self, name: str) -> bool:
        if self.link:
            return name == self.link
        return _OWN_LINK.fullmatch(name) is not None

    def has_route(self, protocol: int, link: str) -> bool:
        return link == self.link if self.link else protocol == self.protocol

    def has_rule(self, protocol: int) -> bool:
        return not self.link and protocol == self.protocol


NODE = Scope()


def pod(interface: str = "eth0") -> Scope:
    """One link inside a pod's namespace and all that is on it, whoever put it there."""
    return Scope(interface, 0)
