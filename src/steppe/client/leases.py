"""The Lease of coordination.k8s.io/v1, as it is read and written."""

import datetime as dt

import msgspec


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The fields in use of coordination.k8s.io/v1 LeaseSpec."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None


def micro_time() -> str:
    """The current time as metav1.MicroTime."""
    now = dt.datetime.now(dt.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
