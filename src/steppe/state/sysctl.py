"""Kernel settings, by their path below /proc/sys with slashes, as sysctl.d(5) allows.

With slashes, interface names may contain dots: net/ipv4/conf/eth0.100/rp_filter.
"""

from typing import ClassVar

import msgspec


class SysctlKey(msgspec.Struct, frozen=True, order=True):
    table: ClassVar[str] = "sysctls"
    level: ClassVar[int] = 10
    path: str

    def __str__(self) -> str:
        return self.path


class Sysctl(msgspec.Struct, frozen=True):
    value: str

    def __str__(self) -> str:
        return f"= {self.value}"
