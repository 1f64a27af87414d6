"""The kinds of ends that text can name, as values, before a look-up in a cluster."""

import msgspec

from steppe.errors import SteppeError
from steppe.net.address import IPAddress, IPNetwork


class UnknownEndError(SteppeError):
    """The text of an end is not valid, matches nothing, or is ambiguous; the message says which."""


class NameEnd(msgspec.Struct, frozen=True):
    """A pod or the pods of a workload, whichever has the name; `namespace` is "" for any."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class PodEnd(msgspec.Struct, frozen=True):
    """A pod by its own name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class WorkloadEnd(msgspec.Struct, frozen=True):
    """The pods of a workload; `kind` as it was written, such as deploy."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


class NamespaceEnd(msgspec.Struct, frozen=True):
    """All pods of a namespace."""

    name: str

    def __str__(self) -> str:
        return f"namespace/{self.name}"


class ServiceEnd(msgspec.Struct, frozen=True):
    """A Service by its name; `namespace` is "" for any."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"svc/{self.namespace}/{self.name}" if self.namespace else f"svc/{self.name}"


class HostEnd(msgspec.Struct, frozen=True):
    """The Service or other end that a host name, alone or in a URL, resolves to."""

    host: str

    def __str__(self) -> str:
        return self.host


class NodeEnd(msgspec.Struct, frozen=True):
    """A node itself."""

    name: str

    def __str__(self) -> str:
        return f"node/{self.name}"


class AddressEnd(msgspec.Struct, frozen=True):
    """The pod, node, Service or outside host with this address."""

    address: IPAddress

    def __str__(self) -> str:
        return str(self.address)


class PrefixEnd(msgspec.Struct, frozen=True):
    """All addresses of a prefix that are not the cluster's; `text` is the prefix as written."""

    prefix: IPNetwork
    text: str

    def __str__(self) -> str:
        return self.text


class InternetEnd(msgspec.Struct, frozen=True):
    """Every public address that is not the cluster's."""

    def __str__(self) -> str:
        return "internet"


End = (
    NameEnd
    | PodEnd
    | WorkloadEnd
    | NamespaceEnd
    | ServiceEnd
    | HostEnd
    | NodeEnd
    | AddressEnd
    | PrefixEnd
    | InternetEnd
)


class Written(msgspec.Struct, frozen=True):
    """An end with the port written after it.

    `port` is a number, a range, a name, `icmp` or "" for none; `protocol` is in capitals, or "".
    """

    end: End
    port: str = ""
    protocol: str = ""


def is_pattern(end: End) -> bool:
    """Whether the end contains `*`, `?` or `[…]` as in file names, so that it may match many."""
    if isinstance(end, AddressEnd | PrefixEnd | InternetEnd | HostEnd):
        return False
    return any(sign in str(end) for sign in "*?[")
