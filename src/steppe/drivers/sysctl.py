"""Kernel settings below /proc/sys (sysctl(8)), in one network namespace.

/proc/sys/net shows the network namespace of the thread that opens it, so the settings of another
namespace are read and written by a thread inside it.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from steppe.drivers.errors import KernelError
from steppe.drivers.netlink.netns import call_in
from steppe.state.node import Key, Value
from steppe.state.sysctl import Sysctl, SysctlKey

_ROOT = Path("/proc/sys")
# Only network settings are anyone's business here; link names may hold dots, but no part of a
# path is made of dots alone.
_PATH = re.compile(r"net(/(?!\.{1,2}(/|$))[A-Za-z0-9_.@:-]+)+")

_T = TypeVar("_T")


class Sysctls:
    """The settings of one namespace: the caller's own, or the given one's."""

    def __init__(self, netns_fd: int | None = None) -> None:
        self._netns_fd = netns_fd

    def read(self, keys: Iterable[SysctlKey]) -> dict[Key, Value]:
        """The settings that are there; one of a link that is gone is not."""
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

    def write(self, key: SysctlKey, setting: Sysctl) -> None:
        """Set one; KernelError says what is wrong with the path or the value."""
        what = f"set sysctl {key} {setting}"

        def write_one() -> None:
            try:
                # Never O_CREAT: a path that is not there must say so.
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
