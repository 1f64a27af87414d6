"""What containers have written, as `kubectl logs` shows it."""

from steppe.client.client import Client
from steppe.client.resources import PODS

_LINE_BYTES = 200


async def log(
    client: Client,
    pod: str,
    namespace: str,
    container: str,
    most_bytes: int,
    *,
    previous: bool = False,
) -> bytes:
    """The end of a container's log, or with `previous` of the container before it.

    ApiError if the server refuses, or has no such container or log.
    """
    query = {
        "container": container,
        "previous": str(previous).lower(),
        # The limit in bytes counts from the first line, and the last ones matter most.
        "tailLines": str(most_bytes // _LINE_BYTES),
        "limitBytes": str(most_bytes),
    }
    return await client.get_bytes(PODS.path(namespace, pod, "log"), query)
