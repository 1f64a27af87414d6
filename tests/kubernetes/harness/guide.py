"""docs/install.md as a program: each of its commands is run where a reader would type it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.harness.errors import HarnessError
from tests.kubernetes.harness.settings import CHECKOUT

PAGE = CHECKOUT / "docs" / "install.md"
NOT_RUN = "# not run"
_ON_NODES = ("ctr", "rm", "nft", "ip")
_BUILDS = "make"
_ADDRESS = "192.0.2.10"
"""Stands in the page for the API server's address."""


@dataclass(frozen=True)
class Command:
    text: str
    run: bool
    """Whether the page says nothing else."""

    @property
    def place(self) -> str:
        """`node`: on each node; `here`: where the checkout is; `laptop`: who has a kubeconfig."""
        word = self.text.split()[0]
        return "node" if word in _ON_NODES else "here" if word == _BUILDS else "laptop"


def commands(text: str) -> list[Command]:
    """Those of a page: indented lines, and their continuations."""
    joined = re.sub(r"\\\n +", "", text)
    found = []
    for line in joined.splitlines():
        if line.startswith("    ") and line.strip():
            command, _, remark = line.strip().partition("  #")
            found.append(Command(command.strip(), f"#{remark}" != NOT_RUN))
    return found


class Guide:
    """Invariant: `left` is what the page shows and nobody has run yet."""

    def __init__(self, places: dict[str, Callable[[str, Path], str]], address: str) -> None:
        self._places = places
        self._address = address
        self._left = [each for each in commands(PAGE.read_text()) if each.run]
        self._known = tuple(self._left)

    @property
    def left(self) -> list[str]:
        return [each.text for each in self._left]

    def run(
        self, begins: str, folder: Path = CHECKOUT, *, must: bool = True, skip: bool = False
    ) -> str:
        """Run the one command that begins so, in this folder; what it says.

        HarnessError if there is no such command, or it fails (which it may, if not `must`).
        `skip`: it was run before, and what it made is there.
        """
        found = [each for each in self._known if each.text.startswith(begins)]
        if len(found) != 1:
            raise HarnessError(f"{PAGE.name} has {len(found)} commands that begin with {begins}")
        (command,) = found
        if command in self._left:
            self._left.remove(command)
        if skip:
            return ""
        text = command.text.replace(_ADDRESS, self._address)
        return self._places[command.place](text if must else f"{text} || true", folder)
