"""Errors of the kernel, with the change, the reason and a cure."""

import os
from errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EHOSTUNREACH,
    EINVAL,
    ENETDOWN,
    ENETUNREACH,
    ENODEV,
    ENOENT,
    EOPNOTSUPP,
    EPERM,
    EROFS,
)

import msgspec

from steppe.drivers.netlink.socket import DumpInterruptedError, NetlinkError
from steppe.errors import SteppeError
from steppe.plan.diff import Change

_CURES = {
    EPERM: "run as root (CAP_NET_ADMIN in the namespace is needed)",
    EACCES: "run as root (CAP_NET_ADMIN in the namespace is needed)",
    EROFS: "this process sees /proc/sys read-only: make its container privileged, or have it "
    "remount it first (mount -o remount,bind,rw /proc/sys, with CAP_SYS_ADMIN)",
    EOPNOTSUPP: "this kernel cannot do it; `steppe doctor` says what is missing",
    ENODEV: "the link is not there; it must be made first",
    ENETDOWN: "the link is down; set it up first",
    ENETUNREACH: "the next hop is in no prefix on the link; check the node's addresses",
    EHOSTUNREACH: "the next hop is in no prefix on the link; check the node's addresses",
    EEXIST: "another program has an entry here; remove its entry, or give it another metric",
    EINVAL: "the kernel refuses this combination of values; is the source address on this node?",
    EBUSY: "something else is using it; it is tried again",
    ENOENT: "the object that it belongs to does not exist",
}


class KernelError(SteppeError):
    """The kernel (or nft) refused a request; `errno` is 0 if there is none."""

    def __init__(self, what: str, errno: int = 0, detail: str = "", cure: str = "") -> None:
        reason = detail
        if errno:
            reason = f"{os.strerror(errno)} ({detail})" if detail else os.strerror(errno)
        cure = cure or _CURES.get(errno, "")
        super().__init__("; ".join(part for part in (f"{what}: {reason}", cure) if part))
        self.errno = errno


class TablesChangedError(KernelError):
    """The tables changed during every attempt to read them, so there is no consistent reading.

    Nothing is wrong with the tables: read them again later.
    """

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(what, detail=detail, cure="it is tried again")


def kernel_error(what: str, error: NetlinkError) -> KernelError:
    """A netlink error as a KernelError; `what` names the action that failed."""
    if isinstance(error, DumpInterruptedError):
        return TablesChangedError(what, error.detail)
    return KernelError(what, error.errno, error.detail)


class Failure(msgspec.Struct, frozen=True):
    """A change that was not made, and why."""

    change: Change
    error: KernelError
