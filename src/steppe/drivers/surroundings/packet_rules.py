"""Other programs' rules for packets: nftables' (iptables-nft with them), and iptables-legacy's."""

from steppe.drivers.nftables import legacy, others
from steppe.drivers.surroundings.look import Look
from steppe.state.surroundings import PacketRule


def read(look: Look) -> tuple[PacketRule, ...]:
    """NftError or KernelError where they cannot be read."""
    return (*others.packet_rules(look.own), *legacy.packet_rules())
