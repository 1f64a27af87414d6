"""FRR as the router that is not ours: zebra, bgpd and bfdd in a namespace of their own."""

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bgp.network import Link
from tests.drivers.conftest import Namespace
from tests.waiting import until

PROGRAMS = Path("/usr/lib/frr")
needs_frr = pytest.mark.skipif(
    not (PROGRAMS / "bgpd").exists(), reason="FRR is not installed: apt install frr"
)
ASN = 65001
DAEMONS = ("zebra", "bfdd", "bgpd")


class Router:
    """A running FRR on the nodes' link."""

    def __init__(self, link: Link, config: str) -> None:
        self.net = Namespace()
        link.plug(self.net, "192.0.2.254/24", "2001:db8::fe/64")
        for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.net.run("sysctl", "-q", "-w", f"{setting}=1")
        # A path of a socket has room for 107 characters, and pytest's folders are deep.
        self._folder = tempfile.TemporaryDirectory(prefix="frr-")
        folder = Path(self._folder.name)
        file = folder / "frr.conf"
        file.write_text(config)
        for path in (folder, file):
            shutil.chown(path, "frr", "frr")
        self._processes = [self._start(name, folder, file) for name in DAEMONS]

    def _start(self, name: str, folder: Path, file: Path) -> "subprocess.Popen[bytes]":
        argv = [str(PROGRAMS / name), "-f", str(file), "-i", str(folder / f"{name}.pid")]
        argv += ["-z", str(folder / "zserv"), "--vty_socket", str(folder), "-P", "0"]
        argv += ["--log", f"file:{folder / name}.log"]
        argv += ["--bfdctl", str(folder / "bfdd.sock")] if name == "bfdd" else []
        process = subprocess.Popen(
            ("nsenter", f"--net={self.net.path}", *argv),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self.net.fd,),
        )
        until((folder / f"{name}.vty").exists, 10, f"FRR's {name} runs")
        return process

    def show(self, what: str) -> Any:
        """What vtysh says, as JSON."""
        folder = self._folder.name
        argv = ("vtysh", "--vty_socket", folder, "-c", f"show {what} json")
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
        return json.loads(done.stdout or "{}")

    def hops(self, prefix: str) -> set[str]:
        """The next hops of a route of bgpd's in the kernel."""
        version = 6 if ":" in prefix else 4
        found = self.net.ip(f"-{version}", "route", "show", prefix, "proto", "bgp")
        return {
            hop.get("gateway") or hop.get("via", {}).get("host", "")
            for route in found
            for hop in route.get("nexthops", (route,))
        }

    def path(self, prefix: str) -> dict[str, Any]:
        """The best path to a prefix, with its attributes."""
        family = "ipv6" if ":" in prefix else "ipv4"
        paths = self.show(f"bgp {family} unicast {prefix}").get("paths", ())
        return next((path for path in paths if path.get("bestpath")), {})

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(timeout=10)
        self.net.close()
        self._folder.cleanup()


@contextlib.contextmanager
def routing(link: Link, neighbors: str) -> Iterator[Router]:
    """An FRR whose neighbors these lines are."""
    router = Router(link, CONFIG.format(asn=ASN, neighbors=neighbors))
    try:
        yield router
    finally:
        router.close()


def neighbor(who: str, *options: str) -> str:
    lines = [f" neighbor {who} remote-as 64512", *(f" neighbor {who} {o}" for o in options)]
    lines += [f" neighbor {who} timers connect 1", f" neighbor {who} capability extended-nexthop"]
    return "\n".join(lines)


CONFIG = """\
frr defaults datacenter
router bgp {asn}
 bgp router-id 192.0.2.254
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 bgp bestpath as-path multipath-relax
 neighbor nodes peer-group
{neighbors}
 address-family ipv4 unicast
  network 10.9.0.0/16
  network 0.0.0.0/0
  neighbor nodes activate
  maximum-paths 16
 exit-address-family
 address-family ipv6 unicast
  network fd00:9::/48
  neighbor nodes activate
  maximum-paths 16
 exit-address-family
"""
