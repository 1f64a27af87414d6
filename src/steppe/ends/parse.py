"""The grammar for the ends of a flow: the same for every command, file and library call.

    shop/web-1  shop/web  web            a pod, or the pods of a workload, whichever has the name
    pod/shop/web-1                       a pod alone
    deploy/shop/web                      the pods of a workload (also rs, sts, ds, job, cj)
    shop/*  shop/web-*  *                all pods that match
    namespace/shop                       all pods of a namespace
    svc/shop/db  svc/shop/*              a Service, or all that match
    db.shop  http://db.shop.svc.cluster.local:8080/     a Service by its DNS name
    db-0.db.shop.svc                     a StatefulSet's pod by its DNS name
    node/node-a  node/*                  a node, or all that match
    10.244.1.5  [fd00::5]:80             what has the address; outside if nothing has it
    192.0.2.0/24  internet               all addresses there that are not the cluster's

A port may follow any of them but a bare IPv6 address: `:5432`, `:53/udp`, `:8000-8080/tcp`, `:http`
or `:icmp`. Each command decides which of these it accepts.
"""

from difflib import get_close_matches
from urllib.parse import urlsplit

from steppe.ends.end import (
    AddressEnd,
    End,
    HostEnd,
    InternetEnd,
    NameEnd,
    NamespaceEnd,
    NodeEnd,
    PodEnd,
    PrefixEnd,
    ServiceEnd,
    UnknownEndError,
    WorkloadEnd,
    Written,
)
from steppe.net.address import parse_address, parse_prefix

HELP = (
    "write NAMESPACE/POD or NAMESPACE/WORKLOAD, svc/NAMESPACE/NAME[:PORT], node/NAME, "
    "namespace/NAME, an address, a CIDR or internet"
)
NOT_YET = frozenset(
    {"ing", "ingress", "gw", "gateway", "httproute", "grpcroute", "tlsroute", "tcproute"}
)
POD_KINDS = frozenset({"pod", "pods", "po"})
WORKLOAD_KINDS = frozenset(
    (
        *("deploy", "deployment", "deployments", "rs", "replicaset", "replicasets"),
        *("sts", "statefulset", "statefulsets", "ds", "daemonset", "daemonsets"),
        *("job", "jobs", "cj", "cronjob", "cronjobs", "rc", "replicationcontroller"),
    )
)
_OTHER_KINDS = ("svc", "service", "services", "node", "nodes", "no", "ns", "namespace")
_KINDS = sorted({*POD_KINDS, *WORKLOAD_KINDS, *_OTHER_KINDS, "namespaces"})
_SCHEME_PORTS = {
    "http": "80",
    "https": "443",
    "ws": "80",
    "wss": "443",
    "amqp": "5672",
    "amqps": "5671",
    "ftp": "21",
    "kafka": "9092",
    "ldap": "389",
    "ldaps": "636",
    "mongodb": "27017",
    "mqtt": "1883",
    "mqtts": "8883",
    "mysql": "3306",
    "nats": "4222",
    "postgres": "5432",
    "postgresql": "5432",
    "redis": "6379",
    "rediss": "6379",
    "sip": "5060",
    "smtp": "25",
    "ssh": "22",
    "ssdp": "1900",
}
"""The ports that clients take for a URL without one (IANA's registry, or the project's default).
Of any other scheme it is the Service's only port."""
_PROTOCOLS = frozenset({"", "TCP", "UDP", "SCTP"})


def parse_end(text: str) -> Written:
    """The end that the text names; UnknownEndError says why it is not valid."""
    text = text.strip()
    if not text:
        raise UnknownEndError("an empty name: give a pod as NAMESPACE/NAME, or an address")
    if "://" in text:
        return _url(text)
    found = _address(text)
    if found is not None:
        return found
    name, _, port = text.partition(":")
    return Written(_named(text, name), *split_port(port))


def split_port(text: str) -> tuple[str, str]:
    """`53/udp` as port and protocol (in capitals); UnknownEndError if it is neither."""
    port, _, protocol = text.partition("/")
    if protocol.upper() not in _PROTOCOLS:
        raise UnknownEndError(f"{text!r} is no port such as 80, 53/udp, 8000-8080/tcp or icmp")
    return port, protocol.upper()


def _url(text: str) -> Written:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UnknownEndError(f"{text!r} is no URL: {error}") from error
    number = str(port) if port is not None else _SCHEME_PORTS.get(parts.scheme, "")
    try:
        return Written(AddressEnd(parse_address(host)), number)
    except ValueError:
        return Written(HostEnd(host), number)


def _address(text: str) -> Written | None:
    """The address or prefix in text; None if it is neither. UnknownEndError for a prefix's address
    with a length that none has.
    """
    bare, port = text, ""
    if text.startswith("["):
        bare, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        bare, _, port = text.partition(":")
    try:
        if "/" in bare:
            end: End = PrefixEnd(parse_prefix(bare), bare)
        else:
            end = AddressEnd(parse_address(bare))
    except ValueError as error:
        if _is_address(bare.partition("/")[0]):
            raise UnknownEndError(f"{bare!r} is no CIDR such as 10.0.0.0/8 or fd00::/8") from error
        return None
    return Written(end, *split_port(port))


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


def _named(text: str, name: str) -> End:
    words = name.split("/")
    end: End
    match [words[0].lower(), *words[1:]]:
        case ["internet"]:
            end = InternetEnd()
        case ["svc" | "service" | "services", *namespace, service] if len(namespace) <= 1:
            end = ServiceEnd("".join(namespace), service)
        case ["node" | "nodes" | "no", node]:
            end = NodeEnd(node)
        case ["ns" | "namespace" | "namespaces", namespace]:
            end = NamespaceEnd(namespace)
        case [kind, namespace, pod] if kind in POD_KINDS:
            end = PodEnd(namespace, pod)
        case [kind, namespace, owner] if kind in WORKLOAD_KINDS:
            end = WorkloadEnd(words[0], namespace, owner)
        case [kind, _, _] if kind in NOT_YET:
            raise not_yet(text)
        case [_]:
            end = NameEnd("", name)
        case [_, pod]:
            end = NameEnd(words[0], pod)
        case [kind, *_]:
            near = get_close_matches(kind, _KINDS, 1)
            meant = f"{kind!r} is no kind, did you mean {near[0]}? " if near else ""
            raise UnknownEndError(f"{text!r} is not understood: {meant}{HELP}")
    return end


def not_yet(text: str) -> UnknownEndError:
    """The error for a kind of object that is not supported as an end yet."""
    return UnknownEndError(
        f"{text!r}: Ingress, Gateway and their routes are not understood yet; name the "
        "Service behind them"
    )
