"""What a lab keeps on disk: where each file is, and the record of what was started.

    /run/steppe/labs/NAME/          root only
      lab.json                      this record: options, processes
      nodes.json                    for kubelet and DNS: nodes, namespaces, addresses, folders
      api/                          the embedded API server's data and kubeconfigs
      nodes/NODE/                   an agent's state, its cni/bin and cni/net.d
      log/PROCESS.log               what each process wrote
    /run/steppe/labs/NAME.lock      held while the lab is being brought up or taken down

`down` must work when any of these is missing or damaged, so it does not need them: namespaces have
the lab's name, and processes have STEPPE_LAB in their environment.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from steppe.errors import SteppeError
from steppe_lab.dns.nameservers import DnsServers, nameservers
from steppe_lab.topology.model import Family, Shape, Topology

LABS_DIR = Path("/run/steppe/labs")
ENV = "STEPPE_LAB"


class LabError(SteppeError):
    """A lab cannot do what was asked; the message says why and what would help."""


class Process(msgspec.Struct, frozen=True):
    """A process of the lab; its start time distinguishes it from a later one with the same pid."""

    name: str
    pid: int
    started: int
    argv: tuple[str, ...]
    log: str
    netns: str = ""


class Options(msgspec.Struct, frozen=True):
    """What the user asked for."""

    name: str = "lab"
    nodes: int = 3
    family: Family = "dual"
    fabric: str = "auto"
    topology: Shape = "flat"
    api: str = ""


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """What was started, for `status`, `exec` and `probe`."""

    options: Options
    kubeconfig: str
    processes: tuple[Process, ...] = ()
    schema: str = "steppe.lab/v1"

    @property
    def logs(self) -> dict[str, str]:
        """The file to which each process writes, by its name."""
        return {process.name: process.log for process in self.processes}


class Paths(msgspec.Struct, frozen=True):
    """The places of one lab's files."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "lab.json"

    @property
    def nodes(self) -> Path:
        return self.root / "nodes.json"

    @property
    def api(self) -> Path:
        return self.root / "api"

    def log(self, process: str) -> Path:
        return self.root / "log" / f"{process.replace('/', '-')}.log"

    def node(self, name: str) -> Path:
        return self.root / "nodes" / name


def paths(lab: str) -> Paths:
    """The files of a lab; the name is checked here, before it becomes part of any path."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?", lab):
        raise LabError(
            f"{lab!r} cannot name a lab: up to 20 lower-case letters, digits and inner hyphens"
        )
    return Paths(LABS_DIR / lab)


def write_record(record: Record) -> None:
    write_atomically(paths(record.options.name).record, msgspec.json.encode(record))


def read_record(lab: str) -> Record:
    """The record of a lab that is up."""
    path = paths(lab).record
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        raise LabError(f"there is no lab {lab!r}: `steppe lab up --name {lab}` makes it") from None
    except msgspec.MsgspecError as error:
        raise LabError(
            f"{path} is damaged ({error}): `steppe lab down --name {lab}` still works"
        ) from error


def write_nodes(lab: str, topology: Topology, dns: DnsServers) -> None:
    """nodes.json, by which the kubelet and DNS know their nodes."""
    where = paths(lab)
    nodes = [
        {
            "name": node.name,
            "netns": node.netns,
            "addresses": node.addresses,
            "stateDir": str(where.node(node.name)),
            "cniBin": str(where.node(node.name) / "cni" / "bin"),
            "cniConf": str(where.node(node.name) / "cni" / "net.d"),
            "nameservers": nameservers(dns, node),
        }
        for node in topology.nodes
    ]
    write_atomically(where.nodes, msgspec.json.encode({"lab": lab, "nodes": nodes}))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers see either the old or the new content."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.rename(path)


@contextlib.contextmanager
def locked(lab: str) -> Iterator[None]:
    """Hold the lab's lock; the kernel lets go of it however this process ends."""
    paths(lab)
    path = LABS_DIR / f"{lab}.lock"
    fd = _lock(path, lab)
    try:
        yield
    finally:
        # Removed while still held: who waits for this inode sees that it has lost its name.
        path.unlink(missing_ok=True)
        os.close(fd)
        # rmdir(2) refuses folders that another lab is using.
        with contextlib.suppress(OSError):
            LABS_DIR.rmdir()
            LABS_DIR.parent.rmdir()


def _lock(path: Path, lab: str) -> int:
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # the last `down` has just removed the folder
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode() or "unknown"
            os.close(fd)
            raise LabError(
                f"lab {lab!r} is being brought up or taken down by process {holder}"
            ) from None
        if _is_named(fd, path):
            os.pwrite(fd, str(os.getpid()).encode(), 0)
            return fd
        os.close(fd)


def _is_named(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
