"""Kernel settings, by their path below /proc/sys with slashes, as sysctl.d(5) allows.

With slashes, interface names may contain dots: net/ipv4/conf/eth0.100/rp_filter.
"""

from typing import ClassVar

import msgspec

_OF_NO_LINK = ("all", "default")


class SysctlKey(msgspec.Struct, frozen=True, order=True):
    table: ClassVar[str] = "sysctls"
    level: ClassVar[int] = 10
    path: str

    def links(self, _: object) -> tuple[str, ...]:
        """The link of a setting of one link: net/ipv4/conf/LINK/SETTING."""
        parts = self.path.split("/")
        of_link = len(parts) == 5 and parts[2] == "conf" and parts[3] not in _OF_NO_LINK
        return (parts[3],) if of_link else ()

    def __str__(self) -> str:
        return self.path


class Sysctl(msgspec.Struct, frozen=True):
    value: str

    def __str__(self) -> str:
        return f"= {self.value}"
