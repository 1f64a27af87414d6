"""All links of the node, and the settings of those that carry the cluster's packets."""

from steppe.drivers.netlink.socket import NetlinkSocket
from steppe.drivers.reader import list_links
from steppe.drivers.surroundings.look import Look
from steppe.drivers.sysctl import Sysctls
from steppe.state.surroundings import SeenLink, Setting
from steppe.state.sysctl import Sysctl, SysctlKey

_SETTINGS = (
    "net/ipv4/conf/{}/forwarding",
    "net/ipv4/conf/{}/rp_filter",
    "net/ipv6/conf/{}/disable_ipv6",
)


def read(look: Look) -> tuple[SeenLink, ...]:
    """NetlinkError where they cannot be read."""
    del look
    with NetlinkSocket() as socket:
        return tuple(
            SeenLink(link.name, link.mtu, link.mac, link.up, link.carrier)
            for link in list_links(socket)
        )


def read_settings(look: Look) -> tuple[Setting, ...]:
    """KernelError where one that is there cannot be read."""
    keys = [SysctlKey(path.format(link)) for link in ("all", *look.links) for path in _SETTINGS]
    return tuple(
        Setting(key, value)
        for key, value in Sysctls().read(keys).items()
        if isinstance(key, SysctlKey) and isinstance(value, Sysctl)
    )
