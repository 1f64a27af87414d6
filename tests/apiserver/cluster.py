"""A real server process in a temporary folder, and clients that talk to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

START_SECONDS = 20
STOP_SECONDS = 10


class Server:
    """One `python -m steppe_lab.apiserver`, which may be stopped and started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.kubeconfig = data / "admin.kubeconfig"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str) -> None:
        self.data.mkdir(exist_ok=True)
        self.kubeconfig.unlink(missing_ok=True)
        with (self.data / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "steppe_lab.apiserver", "--data", str(self.data), *flags],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.kubeconfig.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start: {self.log()}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit code of a server that was told to stop."""
        assert self.process is not None
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def log(self) -> str:
        return (self.data / "log").read_text()

    @property
    def url(self) -> str:
        line = next(line for line in self.kubeconfig.read_text().splitlines() if "server:" in line)
        return line.split("server:")[1].strip()


class Remote:
    """A server that somebody else runs, by its kubeconfig; `data` is a folder of ours."""

    def __init__(self, kubeconfig: Path, data: Path) -> None:
        self.kubeconfig = kubeconfig
        self.data = data


class Kubectl:
    """The real kubectl against one server, in one namespace unless told otherwise."""

    def __init__(self, server: Server | Remote, namespace: str = "default") -> None:
        self._server = server
        self.namespace = namespace

    def command(self, *arguments: str) -> list[str]:
        where = (f"--kubeconfig={self._server.kubeconfig}", f"--namespace={self.namespace}")
        return ["kubectl", *where, *arguments]

    def environment(self) -> dict[str, str]:
        # A cache of its own, so that discovery is read from this server.
        return os.environ | {"KUBECACHEDIR": str(self._server.data / "cache")}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self.environment(),
        )

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, *arguments: str, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode != 0, f"kubectl {arguments} should fail: {done.stdout}"
        return done.stderr
