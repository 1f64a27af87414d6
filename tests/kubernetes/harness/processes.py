"""Programs: run to their end, or started to serve. What is started ends with the harness."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.kubernetes.harness.errors import HarnessError
from tests.waiting import patience

TAIL = 2000
_PAUSE = 0.1


def run(argv: Sequence[str | Path], *, check: bool = True, stdin: str | None = None) -> str:
    """Its standard output. HarnessError with what it said on standard error if it fails."""
    done = subprocess.run(
        [str(word) for word in argv], input=stdin, capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-TAIL:]
        raise HarnessError(f"{' '.join(map(str, argv))}: exit code {done.returncode}: {said}")
    return done.stdout


class Server:
    """A program that serves until it is stopped; its output is a file.

    The kernel kills it when the harness ends in whatever way (PR_SET_PDEATHSIG, by setpriv), so
    start it from the main thread: a thread's end counts as well.
    """

    def __init__(self, argv: Sequence[str | Path], log: Path) -> None:
        self.name = log.stem
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-TAIL:]

    def stop(self, seconds: float = 20) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """At once, as a crash would."""
        self._process.kill()
        self._process.wait()


def wait(condition: Callable[[], object], seconds: float, what: str, *of: Server) -> None:
    """Until the condition holds; HarnessError when a server has ended, or time is up."""
    end = time.monotonic() + patience(seconds)
    while not condition():
        for server in of:
            if not server.running():
                raise HarnessError(f"{server.name} has ended: {server.said()}")
        if time.monotonic() > end:
            said = "".join(f"\n{server.name}: {server.said()}" for server in of)
            raise HarnessError(f"not within {patience(seconds):.0f} s: {what}{said}")
        time.sleep(_PAUSE)
