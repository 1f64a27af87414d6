"""Kernel settings below /proc/sys (sysctl(8)), in one network namespace.

/proc/sys/net shows the network namespace of the thread that opens it, so the settings of another
namespace are read and written by a thread inside it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from steppe.drivers.driver import NOTHING, Fault, Watches
from steppe.drivers.errors import Failure, KernelError
from steppe.drivers.netlink.netns import call_in
from steppe.plan.diff import Change
from steppe.state.node import Key, Value
from steppe.state.sysctl import Sysctl, SysctlKey

_OF_NODE = Path("/host/proc/sys")
"""Where our DaemonSet mounts the node's settings: /proc/sys itself is read-only in a container that
is not privileged. Here too it is the thread's network namespace that counts."""
_ROOT = _OF_NODE if (_OF_NODE / "net").is_dir() else Path("/proc/sys")
# Only network settings are allowed. Link names may contain dots, but no part of a path consists of
# dots alone.
_PATH = re.compile(r"net(/(?!\.{1,2}(/|$))[A-Za-z0-9_.@:-]+)+")

_T = TypeVar("_T")


class Sysctls:
    """The settings of one namespace: the caller's own, or the given one.

    The kernel does not record which settings are ours, so those that were read or written here are
    remembered: they are written again for a link that is made again.
    """

    tables = frozenset((SysctlKey.table,))

    def __init__(self, netns_fd: int | None = None) -> None:
        self._netns_fd = netns_fd
        self._known: set[SysctlKey] = set()

    def close(self) -> None:
        """Nothing is open."""

    def check(self) -> tuple[Fault, ...]:
        """Nothing: settings come with the kernel and its links."""
        return ()

    def ensure(self, desired: Mapping[Key, Value] = NOTHING) -> tuple[Fault, ...]:
        """Nothing to make."""
        del desired
        return ()

    def watch(self) -> Watches:
        """No events: the kernel does not report changes of settings."""
        return Watches()

    def read(
        self, wanted: Collection[Key] = (), tables: Collection[str] | None = None
    ) -> dict[Key, Value]:
        """The wanted settings that are there; one of a link that is gone is not."""
        if tables is not None and SysctlKey.table not in tables:
            return {}
        keys = tuple(key for key in wanted if isinstance(key, SysctlKey))
        self._known.update(keys)
        return self._read(keys)

    def apply(self, changes: Sequence[Change]) -> tuple[Failure, ...]:
        """Write settings; a setting that is no longer claimed keeps its value."""
        failures: list[Failure] = []
        for change in changes:
            key, new = change.key, change.new
            if not isinstance(key, SysctlKey) or not isinstance(new, Sysctl):
                continue
            self._known.add(key)
            try:
                self._write(key, new)
            except KernelError as error:
                failures.append(Failure(change, error))
        return tuple(failures)

    def of_link(self, name: str) -> tuple[Change, ...]:
        """The changes that put back what a link's settings, as far as they are ours, are now."""
        here = [key for key in self._known if name in key.path.split("/")]
        return tuple(Change(key, None, value) for key, value in self._read(here).items())

    def _read(self, keys: Iterable[SysctlKey]) -> dict[Key, Value]:
        wanted = tuple(keys)

        def read_all() -> dict[Key, Value]:
            found: dict[Key, Value] = {}
            for key in wanted:
                try:
                    text = _file(key).read_text()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise KernelError(f"read sysctl {key}", error.errno or 0) from error
                found[key] = Sysctl(" ".join(text.split()))
            return found

        return self._inside(read_all) if wanted else {}

    def _write(self, key: SysctlKey, setting: Sysctl) -> None:
        """Set one; KernelError says what is wrong with the path or the value."""
        what = f"set sysctl {key} {setting}"

        def write_one() -> None:
            try:
                # Never O_CREAT: a path that does not exist must be an error.
                with _file(key).open("r+") as file:
                    file.write(setting.value)
            except FileNotFoundError as error:
                cure = "its link or kernel module is not there"
                raise KernelError(what, error.errno or 0, cure=cure) from error
            except OSError as error:
                raise KernelError(what, error.errno or 0) from error

        self._inside(write_one)

    def _inside(self, work: Callable[[], _T]) -> _T:
        return work() if self._netns_fd is None else call_in(self._netns_fd, work)


def _file(key: SysctlKey) -> Path:
    if _PATH.fullmatch(key.path) is None:
        raise KernelError(f"sysctl {key}", detail="not a path below net/ without dot parts")
    return _ROOT / key.path
