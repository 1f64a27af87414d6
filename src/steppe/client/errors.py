"""The errors of talking to the API server.

No message contains a credential: messages name files, users and addresses only.
"""

import msgspec

from steppe.errors import SteppeError


class ConfigError(SteppeError):
    """The credentials are missing, unreadable, or of a kind we do not support."""


class UnreachableError(SteppeError):
    """The API server did not answer: connection refused or reset, timeout, wrong certificate."""


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
    """The API server refused a request; `status` is the HTTP status."""

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
        """Whether the namespace is being deleted, so that nothing can be created in it any more."""
        return "NamespaceTerminating" in self.causes

    @property
    def gone(self) -> bool:
        return self.status == 410 or self.reason in ("Expired", "Gone")


def api_error(status: int, body: bytes, *, what: str, retry_after: float = 0) -> ApiError:
    """The error for a response; a body that is not a Status is quoted, shortened."""
    try:
        said = msgspec.json.decode(body, type=_Status)
    except msgspec.MsgspecError:
        said = _Status(message=body[:200].decode("utf-8", "replace").strip())
    message = f"{what}: {said.message}" if said.message else what
    causes = tuple(cause.reason for cause in said.details.causes)
    return ApiError(
        status or said.code, said.reason, message, retry_after=retry_after, causes=causes
    )
