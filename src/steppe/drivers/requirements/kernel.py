"""Requirements of the kernel, each tried for real in a throw-away namespace."""

import ctypes
import errno
import os
import platform
import re
import socket
from functools import partial
from pathlib import Path

from steppe.drivers.requirements.attempt import in_namespace, with_module
from steppe.drivers.requirements.model import (
    Level,
    Outcome,
    Requirement,
    missing,
    ok,
    unknown,
)
from steppe.fabric.registry import all_needs, default_needs

# The oldest release we know people to run on nodes (Ubuntu 22.04). Concatenated intervals in nft
# sets, the newest thing we rely on, came with 5.6.
OLDEST = (5, 15)

_NFT = {
    "interval sets": "set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }",
    "concatenated maps": (
        "map m { type ipv6_addr . inet_proto . inet_service : verdict; "
        "elements = { fd00::1 . tcp . 80 : accept } }"
    ),
    "concatenated intervals": (
        "set s { type ipv4_addr . ipv4_addr; flags interval; }\n"
        "chain c { ip saddr . ip daddr @s accept; }"
    ),
    "numgen": (
        "chain c { type nat hook prerouting priority -100; ip daddr 10.0.0.1 "
        "dnat ip to numgen random mod 2 map { 0 : 10.0.0.2, 1 : 10.0.0.3 }; }"
    ),
    "conntrack and masquerade": (
        "chain c { type nat hook postrouting priority 100; ct state new masquerade; }"
    ),
    "counting sets and log groups": (
        "set s { type ipv4_addr; flags dynamic,timeout; size 1024; }\n"
        "chain c { update @s { ip daddr timeout 1d counter }\n"
        'limit rate 10/second log prefix "doctor" group 1; }'
    ),
    "flowtables": "flowtable f { hook ingress priority 0; devices = { lo }; }",
}

_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_BPF_PROG_LOAD = 5
_SCHED_CLS = 3


def release() -> Outcome:
    """Whether the running kernel is one we support."""
    text = os.uname().release
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        return unknown(text)
    version = (int(match[1]), int(match[2]))
    return ok(text) if version >= OLDEST else missing(text)


def nft(statement: str) -> Outcome:
    """Whether the kernel takes a table that holds this statement."""
    return in_namespace("nft", "-f", "-", stdin=f"table inet doctor {{\n{statement}\n}}\n")


def writable_sysctls() -> Outcome:
    """Whether forwarding can be switched on; containers often see /proc/sys read-only."""
    return in_namespace(
        "sysctl",
        "-qw",
        "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.forwarding=1",
        "net.ipv4.conf.all.rp_filter=0",
    )


def ipv6() -> Outcome:
    """Whether an interface can have an IPv6 address."""
    if not Path("/proc/net/if_inet6").exists():
        return missing("the kernel runs without IPv6")
    return in_namespace("ip", "-6", "address", "add", "fd00::1/128", "dev", "lo")


def ip_vs() -> Outcome:
    """Whether the kernel has IPVS; it shows its table once it is loaded."""
    if Path("/proc/net/ip_vs").exists():
        return ok()
    # Nothing named here can succeed without ipvsadm; only a module on disk tells anything.
    found = with_module("ip_vs", "test", "-e", "/proc/net/ip_vs")
    return found if found.found else missing("no /proc/net/ip_vs")


def sctp() -> Outcome:
    """Whether a socket can speak SCTP."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as error:
        return missing(error.strerror or str(error))
    return ok()


def bpf() -> Outcome:
    """Whether the kernel takes the smallest classifier there is: `return 0`."""
    number = _BPF_SYSCALL.get(platform.machine())
    if number is None:
        return unknown(f"cannot be tried on {platform.machine()}")
    # struct bpf_insn: opcode, registers, offset, immediate. MOV64 r0 = 0; EXIT.
    code = ctypes.create_string_buffer(bytes((0xB7, *[0] * 7, 0x95, *[0] * 7)), 16)
    license_ = ctypes.create_string_buffer(b"GPL")
    attributes = (ctypes.c_uint64 * 16)(
        _SCHED_CLS | 2 << 32, ctypes.addressof(code), ctypes.addressof(license_)
    )
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(number, _BPF_PROG_LOAD, ctypes.byref(attributes), 128)
    if descriptor < 0:
        return missing(errno.errorcode.get(ctypes.get_errno(), "refused"))
    os.close(descriptor)
    return ok()


def _add_link(kind: str, *options: str) -> tuple[str, ...]:
    return ("ip", "link", "add", "doctor0", "type", kind, *options)


_KERNEL_CURE = "a distribution's own kernel has it; in a container or VM, change the host's kernel"


def _required(name: str, purpose: str, *arguments: str) -> Requirement:
    return Requirement(
        name, Level.REQUIRED, purpose, _KERNEL_CURE, partial(in_namespace, *arguments)
    )


def _optional(name: str, purpose: str, module: str, *arguments: str) -> Requirement:
    cure = f"a kernel with the module {module}"
    return Requirement(
        name, Level.OPTIONAL, purpose, cure, partial(with_module, module, *arguments)
    )


def _nft(level: Level, name: str, purpose: str) -> Requirement:
    return Requirement(f"nft {name}", level, purpose, _KERNEL_CURE, partial(nft, _NFT[name]))


KERNEL = (
    Requirement(
        "kernel",
        Level.REQUIRED,
        "nftables and netlink as Steppe uses them",
        f"run Linux {OLDEST[0]}.{OLDEST[1]} or newer",
        release,
    ),
    _required("network namespaces", "every pod, and every node of a lab, is one", "true"),
    _required("veth", "joins a pod to its node", *_add_link("veth")),
    _required("bridge", "the switch between a lab's nodes", *_add_link("bridge")),
    *(
        _required(need.device, need.purpose, *_add_link(need.device, *need.words))
        for need in default_needs()
    ),
    Requirement("IPv6", Level.REQUIRED, "dual-stack pods", "boot without ipv6.disable=1", ipv6),
    Requirement(
        "sysctls",
        Level.REQUIRED,
        "nodes forward packets",
        "make /proc/sys writable (docker run --privileged)",
        writable_sysctls,
    ),
    _nft(Level.REQUIRED, "interval sets", "tells the cluster's prefixes from the outside"),
    _nft(Level.REQUIRED, "concatenated maps", "one map finds a Service by address and port"),
    _nft(Level.REQUIRED, "concatenated intervals", "prefixes that may use a Service's port"),
    _nft(Level.REQUIRED, "numgen", "picks one of a Service's endpoints"),
    _nft(Level.REQUIRED, "conntrack and masquerade", "pods reach the outside"),
    _nft(Level.REQUIRED, "counting sets and log groups", "tells what policies deny, and to whom"),
)

OPTIONAL = (
    _nft(Level.OPTIONAL, "flowtables", "planned: short cut for established connections"),
    *(
        _optional(need.device, need.purpose, need.module, *_add_link(need.device, *need.words))
        for need in all_needs()
        if need not in default_needs()
    ),
    _optional(
        "wireguard", "planned: fabric wireguard (encrypted)", "wireguard", *_add_link("wireguard")
    ),
    _optional("dummy", "planned: addresses that belong to no link", "dummy", *_add_link("dummy")),
    _optional(
        "vrf", "planned: several routing tables on one node", "vrf", *_add_link("vrf", "table", "9")
    ),
    _optional(
        "netem",
        "planned: a lab's links with delay and loss",
        "sch_netem",
        *("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"),
    ),
    Requirement(
        "ip_vs",
        Level.OPTIONAL,
        "planned: comparisons with IPVS",
        "a kernel with the module ip_vs",
        ip_vs,
    ),
    Requirement(
        "SCTP sockets",
        Level.OPTIONAL,
        "the echo image answers SCTP",
        "a kernel with the module sctp (Debian: modprobe sctp)",
        sctp,
    ),
    Requirement(
        "BPF",
        Level.OPTIONAL,
        "planned: faster paths",
        "a kernel with CONFIG_BPF_SYSCALL, and root",
        bpf,
    ),
)
