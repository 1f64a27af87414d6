"""What a kubelet reads of a Pod: the fields in use, under the API's own names.

Defaults are those the API server fills in, so that a record means the same without them.
"""

from typing import Any, Literal

import msgspec
from msgspec import field


class Record(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A part of an API object."""


class ObjectFieldSelector(Record, frozen=True):
    field_path: str


class KeySelector(Record, frozen=True):
    """A key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


class EnvSource(Record, frozen=True):
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: dict[str, Any] | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Record, frozen=True):
    name: str
    value: str = ""
    value_from: EnvSource | None = None


class SourceName(Record, frozen=True):
    """A whole ConfigMap or Secret."""

    name: str = ""
    optional: bool = False


class EnvFrom(Record, frozen=True):
    prefix: str = ""
    config_map_ref: SourceName | None = None
    secret_ref: SourceName | None = None


class NameValue(Record, frozen=True):
    name: str
    value: str = ""


class ExecAction(Record, frozen=True):
    command: tuple[str, ...] = ()


class HttpGetAction(Record, frozen=True):
    port: int | str
    path: str = "/"
    host: str = ""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    http_headers: tuple[NameValue, ...] = ()


class TcpSocketAction(Record, frozen=True):
    port: int | str
    host: str = ""


class SleepAction(Record, frozen=True):
    seconds: int


class Handler(Record, frozen=True):
    """What a lifecycle hook does."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Record, frozen=True):
    post_start: Handler | None = None
    pre_stop: Handler | None = None


class Probe(Record, frozen=True):
    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: dict[str, Any] | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class ContainerPort(Record, frozen=True):
    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = field(default="", name="hostIP")


class VolumeMount(Record, frozen=True):
    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""


class Container(Record, frozen=True):
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    lifecycle: Lifecycle = Lifecycle()
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    # Of an init container only "Always" is allowed, and makes it a sidecar.
    restart_policy: str = ""


class KeyToPath(Record, frozen=True):
    key: str
    path: str


class ConfigMapVolume(Record, frozen=True):
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class SecretVolume(Record, frozen=True):
    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class DownwardItem(Record, frozen=True):
    path: str
    field_ref: ObjectFieldSelector | None = None


class DownwardVolume(Record, frozen=True):
    items: tuple[DownwardItem, ...] = ()


class TokenProjection(Record, frozen=True):
    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class SecretProjection(Record, frozen=True):
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class Projection(Record, frozen=True):
    config_map: ConfigMapVolume | None = None
    secret: SecretProjection | None = None
    downward_api: DownwardVolume | None = field(default=None, name="downwardAPI")
    service_account_token: TokenProjection | None = None


class ProjectedVolume(Record, frozen=True):
    sources: tuple[Projection, ...] = ()


class HostPathVolume(Record, frozen=True):
    path: str
    type: str = ""


class Volume(Record, frozen=True):
    name: str
    empty_dir: dict[str, Any] | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    downward_api: DownwardVolume | None = field(default=None, name="downwardAPI")
    projected: ProjectedVolume | None = None
    host_path: HostPathVolume | None = None


class DnsConfig(Record, frozen=True):
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[NameValue, ...] = ()


class HostAlias(Record, frozen=True):
    ip: str
    hostnames: tuple[str, ...] = ()


class ReadinessGate(Record, frozen=True):
    condition_type: str


class Sysctl(Record, frozen=True):
    name: str
    value: str


class PodSecurityContext(Record, frozen=True):
    sysctls: tuple[Sysctl, ...] = ()


class PodSpec(Record, frozen=True):
    node_name: str = ""
    service_account_name: str = "default"
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: int | None = 30
    dns_policy: str = "ClusterFirst"
    dns_config: DnsConfig = DnsConfig()
    host_aliases: tuple[HostAlias, ...] = ()
    readiness_gates: tuple[ReadinessGate, ...] = ()
    security_context: PodSecurityContext | None = None
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()


class Condition(Record, frozen=True):
    type: str
    status: str = "Unknown"
    last_transition_time: str | None = None


class PodStatus(Record, frozen=True):
    phase: str = "Pending"
    start_time: str | None = None
    conditions: tuple[Condition, ...] = ()


class PodMeta(Record, frozen=True):
    name: str
    namespace: str
    uid: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None


class Pod(Record, frozen=True):
    metadata: PodMeta
    spec: PodSpec
    status: PodStatus = PodStatus()

    @property
    def key(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def grace(self) -> int:
        """The seconds its containers have between SIGTERM and SIGKILL."""
        given = self.metadata.deletion_grace_period_seconds
        if given is None:
            given = self.spec.termination_grace_period_seconds
        return 30 if given is None else given

    @property
    def hostname(self) -> str:
        # "the hostname of the Pod … if not specified, set to a system-defined value": its name,
        # cut to what the kernel holds.
        return (self.spec.hostname or self.metadata.name)[:63].rstrip("-.")


def is_sidecar(container: Container) -> bool:
    """An init container that keeps running beside the main ones."""
    return container.restart_policy == "Always"


def port_number(port: int | str, container: Container) -> int:
    """A port by number or by the name it has in the container."""
    if isinstance(port, int):
        return port
    for known in container.ports:
        if known.name == port:
            return known.container_port
    return int(port) if port.isdecimal() else 0
