"""BGPPeer and BGPSettings on the wire (see kube/wire.py); kube/crds/bgp*.yaml describe them."""

import msgspec

from steppe.kube.policy_wire import LabelSelector
from steppe.kube.wire import ObjectMeta


class Rule(msgspec.Struct, frozen=True, rename="camel"):
    prefix: str = ""
    min_length: int | None = None
    max_length: int | None = None
    action: str = "Accept"


class PeerSpec(msgspec.Struct, frozen=True, rename="camel"):
    nodes: LabelSelector | None = None
    address: str = ""
    interface: str = ""
    asn: int = 0
    password_key: str = ""
    bfd: bool = False
    hops: int = 1
    imports: tuple[Rule, ...] | None = msgspec.field(name="import", default=None)
    exports: tuple[Rule, ...] | None = msgspec.field(name="export", default=None)
    communities: tuple[str, ...] | None = None


class BGPPeer(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: PeerSpec = PeerSpec()


class SettingsSpec(msgspec.Struct, frozen=True, rename="camel"):
    asn: int | None = None
    mesh: bool | None = None
    reflectors: LabelSelector | None = None
    announce: tuple[str, ...] | None = None
    password_key: str = ""
    graceful_restart_seconds: int | None = None


class BGPSettings(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: SettingsSpec = SettingsSpec()
