"""Asks for a kind in the newest version that the server has.

Whether a version is served is known from the answer alone: authorization looks at group and
resource and not at the version, so 404 and not 403 comes for a version that is not served.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from steppe.client.errors import ApiError
from steppe.client.resources import Resource

T = TypeVar("T")


async def newest(resource: Resource, ask: Callable[[Resource], Awaitable[T]]) -> T:
    """The answer for the first version that is not answered by 404; ApiError 404 if all are."""
    *newer, oldest = resource.versions
    for version in newer:
        try:
            return await ask(version)
        except ApiError as error:
            if not error.not_found:
                raise
    return await ask(oldest)
