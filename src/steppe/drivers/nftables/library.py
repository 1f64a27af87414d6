"""libnftables(3) through ctypes: runs nft commands, in the network namespace it was made in.

In process, because starting an `nft` program costs 2 ms and more for each change.
"""

import contextlib
import ctypes
import enum
import secrets
import threading
from collections.abc import Iterator
from typing import Self

from steppe.errors import SteppeError

_NAME = "libnftables.so.1"


TASK_NAME = f"st-nft-{secrets.token_hex(4)}"
"""The name of a thread while it runs commands. The kernel's report of a transaction has the name
of the task that made it (NFTA_GEN_PROC_NAME), by which we know our own. The thread's id would not
do: the kernel reports it as the first PID namespace numbers it."""

_PR_SET_NAME, _PR_GET_NAME = 15, 16  # prctl(2)
_TASK_NAME_SIZE = 16  # bytes, with the final zero (TASK_COMM_LEN in linux/sched.h)
_libc = ctypes.CDLL(None)


class NftError(SteppeError):
    """nft refused; the message is its own, which quotes the command."""


class Output(enum.IntFlag):
    """How answers are written (NFT_CTX_OUTPUT_… in nftables/libnftables.h)."""

    HANDLE = 1 << 3
    JSON = 1 << 4
    TERSE = 1 << 11
    """Sets without their elements."""


class Library:
    """One nft context. Its netlink socket is opened here, in the calling thread's namespace."""

    def __init__(self) -> None:
        self._nft = _load()
        self._lock = threading.Lock()
        self._context: int | None = self._nft.nft_ctx_new(0)
        if not self._context:
            raise NftError("libnftables has no context to give; is this root?")
        self._nft.nft_ctx_buffer_output(self._context)
        self._nft.nft_ctx_buffer_error(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._context:
            self._nft.nft_ctx_free(self._context)
            self._context = None

    def run(self, commands: str) -> None:
        """Run commands as one transaction: all of them are done, or none."""
        self.ask(commands)

    def ask(self, commands: str, output: Output = Output(0)) -> str:  # noqa: B008 - it is a number
        """Run them, and answer what nft prints."""
        with self._lock, _named():
            self._nft.nft_ctx_output_set_flags(self._context, output)
            failed = self._nft.nft_run_cmd_from_buffer(self._context, commands.encode())
            # Both calls also empty their buffer.
            answer: bytes = self._nft.nft_ctx_get_output_buffer(self._context)
            error: bytes = self._nft.nft_ctx_get_error_buffer(self._context)
        if failed:
            raise NftError(" ".join(error.decode(errors="replace").split()))
        return answer.decode(errors="replace")


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Inside, the calling thread has the name by which we know our transactions."""
    before = ctypes.create_string_buffer(_TASK_NAME_SIZE)
    _libc.prctl(_PR_GET_NAME, before)
    _libc.prctl(_PR_SET_NAME, TASK_NAME.encode())
    try:
        yield
    finally:
        _libc.prctl(_PR_SET_NAME, before)


def _load() -> ctypes.CDLL:
    try:
        nft = ctypes.CDLL(_NAME)
    except OSError as error:
        raise NftError(f"{_NAME} cannot be loaded: {error}; install libnftables1") from error
    context = ctypes.c_void_p
    nft.nft_ctx_new.restype = context
    nft.nft_ctx_new.argtypes = [ctypes.c_uint32]
    nft.nft_ctx_free.argtypes = [context]
    nft.nft_ctx_free.restype = None
    nft.nft_ctx_buffer_output.argtypes = [context]
    nft.nft_ctx_buffer_error.argtypes = [context]
    nft.nft_ctx_output_set_flags.argtypes = [context, ctypes.c_uint]
    nft.nft_ctx_output_set_flags.restype = None
    nft.nft_run_cmd_from_buffer.argtypes = [context, ctypes.c_char_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(nft, name).argtypes = [context]
        getattr(nft, name).restype = ctypes.c_char_p
    return nft
