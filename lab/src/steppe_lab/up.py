"""Brings a lab up: topology and API server side by side, then everything that talks to it.

    topology ─┐                    ┌─ relay        (each node's 127.0.0.1:6443)
              ├─ admin.kubeconfig ─┼─ kubelet, controller, controller-manager, DNS
    API ──────┘                    └─ one agent a node, in the node's namespace
                                        └─ all nodes Ready ─ manifests applied

If a step fails, everything is removed again, and the error message ends with the last log lines of
the process that failed.
"""

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from steppe.client.client import Client
from steppe.client.config import load_config
from steppe_lab import kubeconfig, netns, process
from steppe_lab.accounts import refused_pods
from steppe_lab.dns.nameservers import DnsServers, service_manifests
from steppe_lab.down import dismantle
from steppe_lab.manifests import DEFINITIONS, STATUS_NAMESPACE, apply, read_manifests
from steppe_lab.process import python
from steppe_lab.ready import Say, wait_for_api, wait_for_nodes
from steppe_lab.record import (
    LabError,
    Options,
    Process,
    Record,
    locked,
    paths,
    write_atomically,
    write_nodes,
    write_record,
)
from steppe_lab.topology.apply import build
from steppe_lab.topology.model import Topology, describe

POD_RANGE4 = "10.244.0.0/16"
POD_RANGE6 = "fd00:10:244::/56"
# Pods use the DNS Service, so that name look-ups test the nodes' data plane.
DNS_SERVERS = DnsServers.SERVICE


def up(options: Options, files: tuple[Path, ...], say: Say) -> Record:
    """A lab with all its nodes Ready and the manifests applied."""
    _check_machine()
    manifests = read_manifests(files)
    with locked(options.name):
        _check_absent(options.name)
        try:
            record = _start(options, say)
            asyncio.run(_wait_and_apply(record, manifests, say))
        except BaseException:
            say("taking down what was started")
            dismantle(options.name)
            raise
        return record


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise LabError("a lab makes network namespaces, which takes root: try with sudo")
    if shutil.which("ip") is None:
        raise LabError("the program `ip` is missing: apt-get install iproute2")


def _check_absent(lab: str) -> None:
    if paths(lab).root.exists() or netns.namespaces_of_lab(lab):
        raise LabError(
            f"lab {lab!r} is up, or was not taken down properly: `steppe lab down --name {lab}`"
            " removes it; `--name` gives another lab another name"
        )


def _start(options: Options, say: Say) -> Record:
    began = time.monotonic()
    where = paths(options.name)
    where.root.mkdir(mode=0o700)
    # The server takes longest to start: the topology is wired meanwhile.
    api = () if options.api else (_start_api(options),)
    topology = _topology(options)
    build(topology)
    for node in topology.nodes:
        where.node(node.name).mkdir(mode=0o700, parents=True)
    write_nodes(options.name, topology, _dns_servers(options))
    say(f"network of {options.nodes} nodes wired ({options.topology})")
    admin = options.api or str(where.api / "admin.kubeconfig")
    record = Record(options, str(Path(admin).absolute()), api)
    write_record(record)
    if api:
        wait_for_api(api[0], Path(record.kubeconfig))
        api = (_on_its_port(api[0], record.kubeconfig),)
        say(f"API server answers ({time.monotonic() - began:.1f} s)")
    asyncio.run(_apply(record, (STATUS_NAMESPACE,)))
    started = (*api, *_start_components(record), *_start_agents(record, topology))
    record = msgspec.structs.replace(record, processes=started)
    write_record(record)
    return record


def _topology(options: Options) -> Topology:
    return describe(options.name, options.nodes, options.family, options.topology)


def _start_api(options: Options) -> Process:
    data = str(paths(options.name).api)
    return _run(options, "api", python("steppe_lab.apiserver", "--data", data, *_family(options)))


def _on_its_port(api: Process, admin: str) -> Process:
    """As it will be started again: on the port it has now, which every kubeconfig names."""
    port = urlsplit(load_config(admin).server).port
    return msgspec.structs.replace(api, argv=(*api.argv, "--port", str(port)))


def _family(options: Options) -> tuple[str, str]:
    return ("--family", options.family)


def _start_components(record: Record) -> tuple[Process, ...]:
    options, where = record.options, paths(record.options.name)
    pod_network = (f"--pod-cidr4={POD_RANGE4}", f"--pod-cidr6={POD_RANGE6}", *_family(options))
    programs = {
        "relay": ("steppe_lab.relay", "admin", ("--nodes", str(where.nodes))),
        "kubelet": ("steppe_lab.kubelet", "kubelet", ("--lab-dir", str(where.root))),
        "controller": ("steppe.controller", "controller", pod_network),
        "controller-manager": ("steppe_lab.controllers", "admin", ()),
        "dns": ("steppe_lab.dns", "agent", ("--lab-dir", str(where.root))),
    }
    return tuple(
        _run(options, name, python(module, "--kubeconfig", _credentials(record, user), *arguments))
        for name, (module, user, arguments) in programs.items()
    )


def _dns_servers(options: Options) -> DnsServers:
    """Another API server has a service range, and perhaps a DNS Service, of its own."""
    return DnsServers.NODE if options.api else DNS_SERVERS


def _credentials(record: Record, user: str) -> str:
    """The embedded server gives each component its own user; another server gave us one file."""
    if record.options.api:
        return record.kubeconfig
    return str(Path(record.kubeconfig).with_name(f"{user}.kubeconfig"))


def _start_agents(record: Record, topology: Topology) -> tuple[Process, ...]:
    options, where = record.options, paths(record.options.name)
    credentials = where.root / "agent.kubeconfig"
    content = kubeconfig.for_nodes(_credentials(record, "agent"), options.family)
    write_atomically(credentials, content)
    credentials.chmod(0o600)
    found = []
    for node in topology.nodes:
        state = where.node(node.name)
        argv = python(
            "steppe.agent",
            *("--node", node.name, "--kubeconfig", str(credentials), "--state-dir", str(state)),
            *("--fabric", options.fabric),
            *("--cni-bin", str(state / "cni" / "bin"), "--cni-conf", str(state / "cni" / "net.d")),
        )
        found.append(_run(options, f"agent/{node.name}", argv, node.netns))
    return tuple(found)


def _run(options: Options, name: str, argv: tuple[str, ...], namespace: str = "") -> Process:
    log = paths(options.name).log(name)
    return process.start(options.name, name, argv, log, namespace)


async def _apply(record: Record, manifests: tuple[dict[str, Any], ...]) -> None:
    async with Client(load_config(record.kubeconfig), user_agent="steppe-lab") as client:
        await apply(client, manifests)


async def _wait_and_apply(record: Record, manifests: tuple[dict[str, Any], ...], say: Say) -> None:
    async with Client(load_config(record.kubeconfig), user_agent="steppe-lab") as client:
        if not record.options.api:
            await apply(client, read_manifests(DEFINITIONS))
        if _dns_servers(record.options) is DnsServers.SERVICE:
            await apply(client, service_manifests(_topology(record.options).nodes))
        await wait_for_nodes(client, record, say)
        if record.options.api and (text := await refused_pods(client)):
            say(text)
        await apply(client, manifests)
        if manifests:
            say(f"{len(manifests)} objects applied")
