"""Questions to the API that store nothing: may this user do that, and who am I?

Everybody with a token may do everything, so every access review says yes.
"""

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver.api import Reply
from steppe_lab.apiserver.discovery import REVIEWS
from steppe_lab.apiserver.negotiation import decode_object
from steppe_lab.apiserver.status import StatusError

_ANYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


def answer(
    path: tuple[str, ...], method: str, body: bytes, content_type: str, user: str
) -> Reply | None:
    """The answered review; None if the path is not one of a review."""
    kind = _review_kind(path)
    if kind is None:
        return None
    if method != "POST":
        raise StatusError(405, "MethodNotAllowed", f"{kind} can only be created")
    review = decode_object(body, content_type)
    review["status"] = _status(kind, user)
    review.setdefault("kind", kind)
    return Reply(msgspec.json.encode(review), 201)


def _review_kind(path: tuple[str, ...]) -> str | None:
    match path:
        case ("apis", group, version, "namespaces", _, plural):
            namespaced = True
        case ("apis", group, version, plural):
            namespaced = False
        case _:
            return None
    for name, kind, in_namespace in REVIEWS.get((group, version), ()):
        if name == plural and in_namespace == namespaced:
            return kind
    return None


def _status(kind: str, user: str) -> Json:
    match kind:
        case "SelfSubjectReview":
            return {"userInfo": {"username": user, "groups": ["system:authenticated"]}}
        case "TokenReview":
            # Only the server's own callers are known; a token is theirs or nobody's.
            return {"authenticated": False}
        case "SelfSubjectRulesReview":
            urls = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
            return {"resourceRules": [_ANYTHING], "nonResourceRules": urls, "incomplete": False}
        case _:
            return {"allowed": True}
