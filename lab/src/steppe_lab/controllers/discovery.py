"""Every resource a server has, as its discovery documents name them."""

from typing import Any

from steppe.client.client import Client
from steppe.client.resources import Resource
from steppe.errors import SteppeError


async def resources(client: Client, *, verbs: frozenset[str]) -> list[Resource]:
    """The resources (each in its group's preferred version) that offer all of these verbs."""
    found = await _of_version(client, "", "v1", "/api/v1", verbs)
    for group in (await client.get_path("/apis")).get("groups") or []:
        version = group["preferredVersion"]["version"]
        path = f"/apis/{group['name']}/{version}"
        try:
            found += await _of_version(client, group["name"], version, path, verbs)
        except SteppeError:
            # An aggregated API that is down must not stop the rest.
            continue
    # Events are served by two groups; they are the same objects.
    return [r for r in found if (r.group, r.plural) != ("events.k8s.io", "events")]


async def _of_version(
    client: Client, group: str, version: str, path: str, verbs: frozenset[str]
) -> list[Resource]:
    listed: list[dict[str, Any]] = (await client.get_path(path)).get("resources") or []
    return [
        Resource(group, version, entry["name"], entry["kind"], namespaced=entry["namespaced"])
        for entry in listed
        if "/" not in entry["name"] and verbs <= set(entry.get("verbs") or ())
    ]
