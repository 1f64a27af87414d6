"""What can go wrong between us and the API server.

No message here ever holds a credential: they name files, users and addresses only.
"""

import msgspec

from steppe.errors import SteppeError


class ConfigError(SteppeError):
    """The credentials are missing, unreadable, or of a kind we do not support."""


class UnreachableError(SteppeError):
    """The API server did not answer: refused, reset, timed out, or not whom its CA knows."""


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: tuple[_Cause, ...] = ()


class _Status(msgspec.Struct, frozen=True):
    """The fields in use of metav1.Status, the body of every refusal."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details = _Details()


class ApiError(SteppeError):
    """The API server answered, and said no."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        retry_after: float = 0,
        causes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{message or reason or 'refused'} ({status} {reason})".rstrip())
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.causes = causes

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        # Both are 409; a stale resourceVersion has the reason "Conflict".
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        return self.status == 409 and not self.already_exists

    @property
    def namespace_terminating(self) -> bool:
        """Nothing can be made in this namespace any more, and trying again will not help."""
        return "NamespaceTerminating" in self.causes

    @property
    def gone(self) -> bool:
        return self.status == 410 or self.reason in ("Expired", "Gone")


def api_error(status: int, body: bytes, *, what: str, retry_after: float = 0) -> ApiError:
    """The error a response stands for; a body that is no Status is quoted, shortened."""
    try:
        said = msgspec.json.decode(body, type=_Status)
    except msgspec.MsgspecError:
        said = _Status(message=body[:200].decode("utf-8", "replace").strip())
    message = f"{what}: {said.message}" if said.message else what
    causes = tuple(cause.reason for cause in said.details.causes)
    return ApiError(
        status or said.code, said.reason, message, retry_after=retry_after, causes=causes
    )
