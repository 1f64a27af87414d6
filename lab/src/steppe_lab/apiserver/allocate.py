"""Cluster IPs and node ports: which a Service gets, and which are taken.

What is taken is read off the stored Services, so nothing can leak or disagree with them.
Free ones are handed out in turn, not lowest first: a connection to a Service that is gone
should not find itself at another one. Low addresses and ports are left to those who ask for
them by number, as kube-apiserver's dynamic bands do.
"""

import ipaddress
from collections.abc import Iterable, Mapping

from steppe.admission.model import Json
from steppe.manifests.service_numbers import (
    NODE_PORTS,
    family_of,
    needs_node_ports,
    node_port_refusal,
    with_node_ports,
)
from steppe.manifests.service_numbers import families as wanted_families
from steppe_lab.apiserver.behaviour import Behaviour
from steppe_lab.apiserver.kinds import FieldError
from steppe_lab.apiserver.store import Key, Record

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FIRST_DYNAMIC_PORT = 30086
_SMALLEST_STATIC_BAND, _LARGEST_STATIC_BAND = 16, 256


class Exhausted(Exception):  # noqa: N818 - an outcome, turned into a FieldError here
    """Nothing is left to give out."""


class Addresses:
    """The service range of one family."""

    def __init__(self, network: Network) -> None:
        self.network = network
        # The first address is the network's own, IPv4's last is broadcast.
        self._last = network.num_addresses - (2 if network.version == 4 else 1)
        band = min(max(_SMALLEST_STATIC_BAND, self._last // 16), _LARGEST_STATIC_BAND)
        self._next = band if band < self._last else 1

    def contains(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        offset = int(address) - int(self.network.network_address)
        return address.version == self.network.version and 1 <= offset <= self._last

    def free(self, taken: Mapping[str, Key]) -> str:
        """The next address that nobody has."""
        for _ in range(len(taken) + 1):
            text = str(self.network[self._next])
            self._next = self._next + 1 if self._next < self._last else 1
            if text not in taken:
                return text
            if len(taken) >= self._last:
                break
        return self._scan(taken)

    def _scan(self, taken: Mapping[str, Key]) -> str:
        for offset in range(1, min(self._last, len(taken) + 1) + 1):
            text = str(self.network[offset])
            if text not in taken:
                return text
        raise Exhausted(f"range {self.network} is full")


def _invalid(field: str, value: object, why: str) -> FieldError:
    shown = f'"{value}"' if isinstance(value, str) else value
    return FieldError(field, "FieldValueInvalid", f"Invalid value: {shown}: {why}")


class ServiceBehaviour(Behaviour):
    """Gives Services their families, addresses and ports.

    Invariant: what is taken is read from the stored Services; there is no other record that could
    differ.
    """

    def __init__(self, ranges: Mapping[str, str], stored: Iterable[Record]) -> None:
        self._ranges = {
            family: Addresses(ipaddress.ip_network(prefix)) for family, prefix in ranges.items()
        }
        self._address_owner: dict[str, Key] = {}
        self._port_owner: dict[int, Key] = {}
        self._held: dict[Key, tuple[tuple[str, ...], tuple[int, ...]]] = {}
        self._next_port = _FIRST_DYNAMIC_PORT
        for record in stored:
            self.stored(record)

    def before_create(self, obj: Json) -> list[FieldError]:
        return self._complete(obj, {})

    def before_update(self, old: Json, new: Json) -> list[FieldError]:
        if old["spec"] == new["spec"]:
            return []
        return self._complete(new, old["spec"])

    def stored(self, record: Record) -> None:
        self.removed(record)
        spec = record.object.get("spec") or {}
        addresses = [text for text in spec.get("clusterIPs") or [] if text != "None"]
        ports = sorted(set(_ports_of(spec)))
        self._held[record.key] = (tuple(addresses), tuple(ports))
        self._address_owner |= dict.fromkeys(addresses, record.key)
        self._port_owner |= dict.fromkeys(ports, record.key)

    def removed(self, record: Record) -> None:
        addresses, ports = self._held.pop(record.key, ((), ()))
        for address in addresses:
            del self._address_owner[address]
        for number in ports:
            del self._port_owner[number]

    def _complete(self, obj: Json, before: Json) -> list[FieldError]:
        spec = obj["spec"]
        key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if spec.get("type") == "ExternalName":
            return []
        self._choose_families(spec, before)
        try:
            return self._addresses(spec, key) + self._ports(spec, key)
        except Exhausted as exhausted:
            return [FieldError("spec", "InternalError", f"Internal error: {exhausted}")]

    def _choose_families(self, spec: Json, before: Json) -> None:
        """IpFamilies and ipFamilyPolicy, from what is given and what the cluster has."""
        served = list(self._ranges)
        given = [ip for ip in spec.get("clusterIPs") or [] if ip not in ("", "None")]
        families = wanted_families(spec.get("ipFamilies") or (), given, served, dual=False)
        policy = spec.get("ipFamilyPolicy")
        if not policy:
            # "Headless services with no selector default to RequireDualStack" on all families.
            everywhere = spec.get("clusterIP") == "None" and not spec.get("selector")
            dual = len(families) > 1 or (everywhere and not spec.get("ipFamilies"))
            policy = "RequireDualStack" if dual and len(served) > 1 else "SingleStack"
        if policy == "SingleStack" and before.get("ipFamilyPolicy") not in (None, "SingleStack"):
            families = families[:1]
            spec["clusterIPs"] = (spec.get("clusterIPs") or [])[:1]
        elif policy != "SingleStack":
            families = wanted_families(families, (), served, dual=True)
        spec["ipFamilies"], spec["ipFamilyPolicy"] = families, policy

    def _addresses(self, spec: Json, key: Key) -> list[FieldError]:
        if spec.get("clusterIP") == "None":
            spec["clusterIPs"] = ["None"]
            return []
        addresses = [ip for ip in spec.get("clusterIPs") or [] if ip]
        for index, text in enumerate(addresses):
            family = family_of(text)
            why = ""
            if family not in self._ranges or not self._ranges[family].contains(text):
                networks = ", ".join(str(range_.network) for range_ in self._ranges.values())
                why = f"the provided IP is not in the valid range. The range of valid IPs is {networks}"  # noqa: E501
            elif self._address_owner.get(text, key) != key:
                why = "provided IP is already allocated"
            if why:
                return [
                    _invalid(
                        f"spec.clusterIPs[{index}]", text, f"failed to allocate IP {text}: {why}"
                    )
                ]
        addresses += [
            self._ranges[family].free(self._address_owner)
            for family in spec["ipFamilies"][len(addresses) :]
        ]
        spec["clusterIPs"] = addresses
        spec["clusterIP"] = addresses[0]
        return []

    def _ports(self, spec: Json, key: Key) -> list[FieldError]:
        """Node ports for NodePort and LoadBalancer; taken ones are refused."""
        allocate = spec.get("allocateLoadBalancerNodePorts", True)
        wanted = needs_node_ports(spec.get("type", ""), allocate=allocate)
        ports = spec.get("ports") or []
        for index, port in enumerate(ports):
            number = port.get("nodePort")
            if number and (error := self._refusal(f"spec.ports[{index}].nodePort", number, key)):
                return [error]
        own = set(_ports_of(spec))
        if wanted and ports:
            spec["ports"] = with_node_ports(ports, lambda _: self._free_port(own))
        if spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
            number = spec.get("healthCheckNodePort")
            if number and (error := self._refusal("spec.healthCheckNodePort", number, key)):
                return [error]
            spec["healthCheckNodePort"] = number or self._free_port(own)
        return []

    def _refusal(self, field: str, number: int, key: Key) -> FieldError | None:
        taken = self._port_owner.get(number, key) != key
        why = node_port_refusal(number, taken=taken)
        return _invalid(field, number, why) if why else None

    def _free_port(self, own: set[int]) -> int:
        for _ in NODE_PORTS:
            number = self._next_port
            self._next_port = number + 1 if number + 1 in NODE_PORTS else NODE_PORTS[0]
            if number not in self._port_owner and number not in own:
                own.add(number)
                return number
        raise Exhausted("no node port is left")


def _ports_of(spec: Json) -> list[int]:
    numbers = [port.get("nodePort") for port in spec.get("ports") or []]
    return [number for number in (*numbers, spec.get("healthCheckNodePort")) if number]
