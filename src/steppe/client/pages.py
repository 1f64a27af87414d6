"""The pages that a server tells a list in, decoded."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from steppe.client.errors import UnreachableError

T = TypeVar("T")

PAGE = 2000
"""Objects asked for at a time, some megabytes of them. The pager of client-go asks for 500, its
reflectors for the whole list at once: every page costs a server, and a round trip, anew.
"""


class _ListMeta(msgspec.Struct, frozen=True, rename={"continue_": "continue"}):
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    continue_: str = ""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a list."""

    metadata: _ListMeta = _ListMeta()
    items: list[T] | None = None


class PageDecoder(Generic[T]):
    """Reads pages of one type of object, each object once where all are of that type."""

    def __init__(self, type_: Callable[..., T]) -> None:
        """`type_`: a class or a generic alias."""
        self._whole: msgspec.json.Decoder[Page[T]] = msgspec.json.Decoder(
            Page[type_]  # type: ignore[valid-type]
        )

    def decode(self, what: str, body: bytes) -> Page[T] | Page[msgspec.Raw]:
        """The page, whose items are bytes where one bad object would spoil the rest."""
        try:
            return self._whole.decode(body)
        except msgspec.MsgspecError:
            page: Page[msgspec.Raw] = decoded(body, Page[msgspec.Raw], what)
            return page


RAW = PageDecoder(msgspec.Raw)


def decoded(body: bytes, type_: Any, what: str) -> Any:
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.MsgspecError as error:
        raise UnreachableError(
            f"{what}: the answer is not what the API promises: {error}"
        ) from error
