"""Decodes the pages of a list."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from steppe.client.errors import UnreachableError

T = TypeVar("T")

PAGE = 2000
"""Objects in one page: some megabytes. client-go's pager asks for 500, its reflectors for the whole
list at once: each page costs a round trip and work in the server.
"""


class _ListMeta(msgspec.Struct, frozen=True, rename={"continue_": "continue"}):
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    continue_: str = ""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a list."""

    metadata: _ListMeta = _ListMeta()
    items: list[T] | None = None


class PageDecoder(Generic[T]):
    """Decodes pages of one type of object in one step, if all objects of a page can be decoded."""

    def __init__(self, type_: Callable[..., T]) -> None:
        """`type_`: a class or a generic alias."""
        self._whole: msgspec.json.Decoder[Page[T]] = msgspec.json.Decoder(
            Page[type_]  # type: ignore[valid-type]
        )

    def decode(self, what: str, body: bytes) -> Page[T] | Page[msgspec.Raw]:
        """The page; its items are raw bytes if one of them cannot be decoded."""
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
