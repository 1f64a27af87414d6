"""One BIRD: started, watched, and given new configurations that it can go back from.

BIRD makes itself a daemon and outlives the agent that started it: an agent that is killed takes no
session with it. The next agent finds it by its control socket and the file with its process id.

    new file ─▶ bird -p ─▶ renamed ─▶ configure timeout ─▶ are the sessions still there?
                  │refused                                     │yes: confirm   │no: undo
                  ▼                                            ▼               ▼
                as before                                    in force        as before
"""

import asyncio
import contextlib
import os
import shutil
import signal
from itertools import pairwise
from pathlib import Path

from steppe.bgp.seen import LearnedRoute, Md5Faults, SeenSession
from steppe.drivers.bird.control import BirdError, BirdGoneError, Reply, ask
from steppe.drivers.bird.replies import routes, sessions

UNDO_SECONDS = 30
"""After which BIRD goes back to the configuration before, if nobody confirms the new one."""
START_SECONDS = 10.0
LOG_BYTES = 1 << 20
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin", "/usr/local/bin")


def program() -> str | None:
    """Where BIRD is; None where it is not installed."""
    return shutil.which("bird") or shutil.which("bird", path=":".join(_PLACES))


class Bird:
    """The BIRD of one node; its files are in `folder`, which is root's alone.

    Invariant: `config` is a file that `bird -p` has taken; what BIRD runs is that, but between
    `load` and `confirm` or `undo`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "bird.conf"
        self._old = folder / "bird.conf.old"
        self._new = folder / "bird.conf.new"
        self._socket = folder / "bird.ctl"
        self._pid_file = folder / "bird.pid"

    @property
    def loaded(self) -> str | None:
        """The configuration on disk; None if there is none. OSError if it cannot be read."""
        with contextlib.suppress(FileNotFoundError):
            return self.config.read_text()
        return None

    @property
    def was_here(self) -> bool:
        """Whether a configuration is on disk, readable or not."""
        return self.config.exists()

    @property
    def is_unconfirmed(self) -> bool:
        """Whether a configuration was loaded and then neither confirmed nor undone: who loaded it
        was ended in between, and BIRD goes back, or has gone back, by itself.
        """
        return self._old.exists()

    async def is_running(self) -> bool:
        """Whether a BIRD answers."""
        try:
            await self._ask("show status")
        except BirdGoneError:
            return False
        return True

    async def start(self, text: str) -> None:
        """Start BIRD with this configuration; BirdError with its own words if that fails.

        If one ran here before, the new one takes its routes in the kernel over and tells its
        neighbours so (graceful restart, `-R`).
        """
        again = self.config.exists()
        await self._check(text)
        self._new.rename(self.config)
        self._old.unlink(missing_ok=True)
        flags = ("-R",) if again else ()
        files = ("-c", str(self.config), "-s", str(self._socket), "-P", str(self._pid_file))
        await _run(_program(), *files, *flags, what="start BIRD")

    async def load(self, text: str, *, soft: bool) -> None:
        """Give it another configuration, for now; BirdError, and nothing is changed, if refused.

        `soft`: routes that were let through before are not looked at again; right where no filter
        has changed.
        """
        await self._check(text)
        with contextlib.suppress(FileNotFoundError):
            self._old.unlink()
        self._old.hardlink_to(self.config)
        self._new.rename(self.config)
        how = "soft " if soft else ""
        reply = await self._ask(f"configure {how}timeout {UNDO_SECONDS}")
        if reply.is_error:
            self._old.replace(self.config)
            raise BirdError(f"BIRD refuses its new configuration: {reply.text}")

    async def confirm(self) -> None:
        """Keep the configuration that was loaded."""
        await self._ask("configure confirm")
        self._old.unlink(missing_ok=True)

    async def undo(self) -> None:
        """Go back to the configuration before."""
        with contextlib.suppress(FileNotFoundError):
            self._old.replace(self.config)
        await self._ask("configure undo")

    async def sessions(self) -> dict[str, SeenSession]:
        """All sessions, by the names of their protocols."""
        reply = await self._ask("show protocols all")
        return {each.name: each for each in sessions(reply)}

    async def routes(self) -> tuple[LearnedRoute, ...]:
        return routes(await self._ask("show route"))

    async def retire(self, empty: str) -> None:
        """End it for good. `empty` is a configuration without sessions: by it the routes are
        withdrawn, and taken out of the kernel, where BIRD would leave them at its end (`persist`).
        """
        if await self.is_running():
            await self.load(empty, soft=False)
            await self.confirm()
            end = asyncio.get_running_loop().time() + START_SECONDS
            while await self.routes() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await self._ask("down")
        for file in (self.config, self._old, self._new):
            file.unlink(missing_ok=True)

    def pid(self) -> int | None:
        """The process that the file names, if it is there and is a BIRD."""
        try:
            pid = int(self._pid_file.read_text())
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            return None
        return pid if name == "bird" else None

    async def until_gone(self) -> None:
        """Returns when the process has ended, or at once if there is none."""
        pid = self.pid()
        if pid is None:
            return
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(fd, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    def kill(self) -> None:
        """End it without any notice; used by tests, and where it does not answer any more."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    async def _ask(self, command: str) -> Reply:
        return await ask(self._socket, command)

    async def _check(self, text: str) -> None:
        """Write the new file, which BIRD itself has to take."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w") as file:  # noqa: ASYNC230, PTH123 - a small file in memory (/run)
            file.write(text)
        await _run(_program(), "-p", "-c", str(self._new), what="read its configuration")


def md5_faults() -> Md5Faults:
    """What the kernel has counted in the caller's namespace; nothing where it cannot say."""
    try:
        lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
    except OSError:
        return Md5Faults()
    found: dict[str, str] = {}
    for names, numbers in pairwise(lines):
        if names.startswith("TcpExt:") and numbers.startswith("TcpExt:"):
            found |= zip(names.split()[1:], numbers.split()[1:], strict=False)
    counts = (found.get(f"TCPMD5{name}", "0") for name in ("NotFound", "Unexpected", "Failure"))
    return Md5Faults(*map(int, counts))


def _program() -> str:
    found = program()
    if found is None:
        raise BirdError(
            "BIRD is not installed on this node: apt-get install bird2 (2.0.8 or newer)"
        )
    return found


async def _run(*argv: str, what: str) -> None:
    """Run to its end; BirdError with what it says if it fails."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            _, said = await process.communicate()
    except TimeoutError as error:
        process.kill()
        raise BirdError(f"BIRD did not {what} within {START_SECONDS:.0f} s") from error
    if process.returncode:
        text = " ".join(said.decode(errors="replace").split())
        raise BirdError(f"BIRD did not {what} ({process.returncode}): {text}")
