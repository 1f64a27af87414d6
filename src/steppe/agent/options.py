"""The agent's command line: the same flags in a cluster and in the lab."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import msgspec

from steppe.agent.health.proxy_health import Place
from steppe.fabric.protocol import Option
from steppe.fabric.registry import FABRICS, all_options, summaries
from steppe.net.address import IPNetwork
from steppe.settings import ExternalIPs, NodePortAddresses, Settings, parse_prefixes

STATE_DIR = Path("/run/steppe")
METRICS = "127.0.0.1:9465"
PROXY_HEALTH = ":10256"
PROXY_MODE = 10249

BUG = 70
"""The exit code for a bug of ours: EX_SOFTWARE, "internal software error" (sysexits.h)."""

_EPILOG = """\
Exit code: 0 after SIGTERM or SIGINT, 1 the agent cannot work (the log says why), 2 bad usage,
70 a bug in the agent itself (the log has the traceback). Whatever else fails, the agent goes on:
it tries again, and `steppe status` says what is wrong.

While it runs, `curl --unix-socket STATE_DIR/agent.sock http://localhost/v1/status` asks it.

Example: python -m steppe.agent --node node-a --kubeconfig /etc/steppe/kubeconfig
"""

_SWITCHES = {
    "--masquerade": "whether what leaves the cluster takes the node's address",
    "--services": "whether Services are Steppe's; off leaves them to another proxy",
    "--policies": "whether NetworkPolicies are enforced",
    "--repair": "whether what others change in the kernel is put back; off leaves it to audit",
}


class Options(msgspec.Struct, frozen=True):
    """The options of one agent; times in seconds."""

    node: str
    kubeconfig: str | None
    state_dir: Path
    bgp_passwords: Path
    settings: Settings
    metrics_listen: str
    proxy_health_listen: Place | None
    proxy_mode_port: int
    """On loopback; 0 for none."""
    cni_bin: Path | None
    cni_conf: Path | None
    cni_plugin: Path | None
    resync: float
    repair: bool
    log_level: str


def parse(arguments: Sequence[str] | None = None) -> Options:
    """The options, or a usage message and exit code 2."""
    given = _parser().parse_args(arguments)
    if not given.node:
        _parser().error("which node is this? give --node NAME or set NODE_NAME")
    return Options(
        node=given.node,
        kubeconfig=given.kubeconfig,
        state_dir=given.state_dir,
        bgp_passwords=given.bgp_passwords or given.state_dir / "bgp-passwords",
        settings=Settings(
            fabric=given.fabric,
            fabric_options=_chosen_options(given),
            masquerade=given.masquerade == "on",
            services=given.services == "on",
            policies=given.policies == "on",
            node_port_addresses=given.node_port_addresses,
            pod_ranges=given.pod_ranges,
            external_ips=given.external_ips,
        ),
        metrics_listen=given.metrics_listen,
        proxy_health_listen=given.proxy_health_listen,
        proxy_mode_port=given.proxy_mode_port,
        cni_bin=given.cni_bin,
        cni_conf=given.cni_conf,
        cni_plugin=given.cni_plugin,
        resync=given.resync,
        repair=given.repair == "on",
        log_level=given.log_level,
    )


def _parser() -> argparse.ArgumentParser:
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m steppe.agent",
        description="Makes this node's kernel agree with the cluster, and serves the CNI plugin.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--node", default=os.environ.get("NODE_NAME", ""), help="this node's name in the API")
    add("--kubeconfig", help="default: the pod's service account, else $KUBECONFIG")
    add("--state-dir", type=Path, default=STATE_DIR, help="sockets, root-only (%(default)s)")
    _add_fabrics(add, defaults)
    add(
        "--bgp-passwords",
        type=Path,
        metavar="FOLDER",
        help="a file for each passwordKey of the fabric bgp, as the mounted Secret "
        "steppe-bgp-passwords has them; default: bgp-passwords in the state folder",
    )
    for flag, meaning in _SWITCHES.items():
        add(flag, choices=("on", "off"), default="on", help=f"{meaning} (%(default)s)")
    _add_places(add)
    _add_claims(add)
    add("--cni-bin", type=Path, help="install the CNI plugin into this folder")
    add("--cni-conf", type=Path, help="install the CNI configuration into this folder")
    add(
        "--cni-plugin",
        type=Path,
        metavar="FILE",
        help="the static CNI plugin to install, for hosts without Python; default: a script",
    )
    add("--resync", type=float, default=60.0, help="seconds between full comparisons")
    add("--log-level", choices=("debug", "info", "warning"), default="info")
    return parser


def _add_fabrics(add: Callable[..., argparse.Action], defaults: Settings) -> None:
    """The flags for the fabric, and for the options of each fabric."""
    add("--fabric", choices=FABRICS, default=defaults.fabric, help=f"{summaries()} (%(default)s)")
    for option in all_options():
        add(
            f"--{option.name}",
            type=_number_of(option),
            default=option.default,
            metavar="NUMBER",
            help=f"{option.help} (%(default)s)",
        )


def _number_of(option: Option) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit():
            raise argparse.ArgumentTypeError(f"{text!r} is no number; give one such as 1")
        if not option.lowest <= int(text) <= option.highest:
            bounds = f"{option.lowest} to {option.highest}"
            raise argparse.ArgumentTypeError(f"{text} is out of bounds; give one from {bounds}")
        return int(text)

    return number


def _chosen_options(given: argparse.Namespace) -> tuple[tuple[str, int], ...]:
    """The fabric's options that differ from their defaults."""
    found = (
        (option.name, getattr(given, option.name.replace("-", "_")), option.default)
        for option in all_options()
    )
    return tuple(sorted((name, number) for name, number, default in found if number != default))


def _add_places(add: Callable[..., argparse.Action]) -> None:
    """The flags for the addresses on which the agent listens."""
    add(
        "--metrics-listen",
        default=METRICS,
        metavar="ADDRESS:PORT",
        help="/metrics, /healthz and /readyz; empty for none (%(default)s)",
    )
    add(
        "--proxy-health-listen",
        default=PROXY_HEALTH,
        type=_place,
        metavar="[ADDRESS]:PORT",
        help="where load balancers ask for this node's health; empty for none (%(default)s)",
    )
    add(
        "--proxy-mode-port",
        default=PROXY_MODE,
        type=_port,
        metavar="PORT",
        help="answer /proxyMode on this port of loopback, as kube-proxy does; 0 for none, and none "
        "with --services off (%(default)s)",
    )
    add(
        "--node-port-addresses",
        default=Settings().node_port_addresses,
        type=_node_port_addresses,
        metavar="CIDR,…",
        help="serve node ports only on addresses of the node in these ranges, or `primary` for its"
        " first of each family; empty for all (default)",
    )


def _add_claims(add: Callable[..., argparse.Action]) -> None:
    """What objects may ask for."""
    add(
        "--pod-ranges",
        default=(),
        type=_prefixes,
        metavar="CIDR,…",
        help="use no Node's podCIDR that does not lie in these; empty for any (default)",
    )
    add(
        "--external-ips",
        choices=get_args(ExternalIPs),
        default=Settings().external_ips,
        help="whether Services may have externalIPs, by which whoever writes one may take any "
        "address (CVE-2020-8554): warn tells of each, deny serves none (%(default)s)",
    )


def _place(text: str) -> Place | None:
    host, _, port = text.rpartition(":")
    if not text:
        return None
    if not port.isascii() or not port.isdigit() or int(port) not in range(1, 65536):
        raise argparse.ArgumentTypeError(f"{text!r} has no port; give one such as :10256")
    return Place(host.strip("[]"), int(port))


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give one such as {PROXY_MODE}")
    return int(text)


def _node_port_addresses(text: str) -> NodePortAddresses:
    return "primary" if text == "primary" else _prefixes(text, or_else=", or primary")


def _prefixes(text: str, or_else: str = "") -> tuple[IPNetwork, ...]:
    try:
        return parse_prefixes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}{or_else}") from error
