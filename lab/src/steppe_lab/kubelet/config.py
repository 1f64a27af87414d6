"""DIR/nodes.json: which nodes this process runs, as the lab's topology wrote it."""

from pathlib import Path

import msgspec
from msgspec import field

from steppe.errors import SteppeError


class LabConfigError(SteppeError):
    """The lab's nodes.json is missing or not what the lab writes."""


class DnsSettings(msgspec.Struct, frozen=True, rename="camel"):
    """Where pods with dnsPolicy ClusterFirst look names up."""

    nameservers: tuple[str, ...] = ()
    domain: str = "cluster.local"
    searches: tuple[str, ...] = ()


class NodeConfig(msgspec.Struct, frozen=True, rename="camel"):
    """One node: where it is on the network and on disk."""

    name: str
    netns: str
    addresses: tuple[str, ...]
    state_dir: str
    cni_bin: str
    cni_conf: str
    labels: dict[str, str] = {}
    nameservers: tuple[str, ...] = ()

    @property
    def pods(self) -> Path:
        """One folder a pod, named by its uid."""
        return Path(self.state_dir) / "pods"

    def pod_dir(self, uid: str) -> Path:
        return self.pods / uid


class LabConfig(msgspec.Struct, frozen=True):
    """The nodes of a lab."""

    lab: str
    nodes: tuple[NodeConfig, ...]
    dns: DnsSettings = field(default_factory=DnsSettings)

    def dns_of(self, node: NodeConfig) -> DnsSettings:
        """The lab's settings, with the node's own servers if it has any."""
        servers = node.nameservers or self.dns.nameservers
        return msgspec.structs.replace(self.dns, nameservers=servers)


def load_lab(lab_dir: Path) -> LabConfig:
    path = lab_dir / "nodes.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=LabConfig)
    except OSError as error:
        raise LabConfigError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise LabConfigError(f"{path}: {error}") from error
