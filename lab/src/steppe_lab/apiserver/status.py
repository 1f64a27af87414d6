"""What the server answers when it refuses: metav1.Status, in the words client-go looks for.

Clients decide by `reason`, `code` and `details.causes`, people by `message`; both follow
k8s.io/apimachinery's pkg/api/errors, so that kubectl prints what it prints elsewhere.
"""

from collections.abc import Iterable

from steppe.admission.model import FieldError, Json, Kind
from steppe.errors import SteppeError


class StatusError(SteppeError):
    """A request refused; becomes a Status object with this code and reason."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Json:
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = self.details
        return status | {"code": self.code}


def success(kind: Kind, name: str, uid: str) -> Json:
    """The Status of a deletion that is complete."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": resource_details(kind, name) | {"uid": uid},
    }


def resource_details(kind: Kind, name: str) -> Json:
    """`details.kind` names the resource, not the kind, wherever a resource is known."""
    return {"name": name} | ({"group": kind.group} if kind.group else {}) | {"kind": kind.plural}


def qualified(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(kind: Kind, name: str, why: str, causes: list[Json] | None = None) -> StatusError:
    details = resource_details(kind, name) | ({"causes": causes} if causes else {})
    return StatusError(403, "Forbidden", f'{qualified(kind)} "{name}" is forbidden: {why}', details)


def page_not_found() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def not_found(kind: Kind, name: str) -> StatusError:
    message = f'{qualified(kind)} "{name}" not found'
    return StatusError(404, "NotFound", message, resource_details(kind, name))


def method_not_allowed(kind: Kind, verb: str) -> StatusError:
    message = f"{verb} is not supported on resources of kind {qualified(kind)!r}"
    return StatusError(405, "MethodNotAllowed", message, resource_details(kind, ""))


def not_acceptable(accepted: str) -> StatusError:
    message = f"only the following media types are accepted: {accepted}"
    return StatusError(406, "NotAcceptable", message)


def already_exists(kind: Kind, name: str) -> StatusError:
    message = f'{qualified(kind)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, resource_details(kind, name))


def conflict(kind: Kind, name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {qualified(kind)} "{name}": {why}'
    return StatusError(409, "Conflict", message, resource_details(kind, name))


def stale(kind: Kind, name: str) -> StatusError:
    return conflict(
        kind,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",  # noqa: E501 - the sentence clients know
    )


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def too_large(limit: int) -> StatusError:
    message = f"Request entity too large: limit is {limit}"
    return StatusError(413, "RequestEntityTooLarge", message)


def unsupported_media_type(given: str, supported: str) -> StatusError:
    message = (
        f"the body of the request was in an unknown format ({given or 'no Content-Type'})"
        f" - accepted media types include: {supported}"
    )
    return StatusError(415, "UnsupportedMediaType", message)


def invalid(kind: Kind, name: str, errors: Iterable[FieldError]) -> StatusError:
    """422 with one cause a field, and a message as field.ErrorList.ToAggregate writes it."""
    causes = [
        {"reason": error.reason, "message": error.message, "field": error.field} for error in errors
    ]
    lines = [f"{cause['field']}: {cause['message']}" for cause in causes]
    told = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    named = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {"name": name} | ({"group": kind.group} if kind.group else {})
    return StatusError(
        422,
        "Invalid",
        f'{named} "{name}" is invalid: {told}',
        details | {"kind": kind.kind, "causes": causes},
    )


def too_large_revision(asked: int, current: int) -> StatusError:
    """What a client sees that asks for a version this server has not reached."""
    message = f"Too large resource version: {asked}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})
