"""What clients read before they ask for objects: health, version, discovery and OpenAPI."""

import hashlib
import platform
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from steppe_lab.apiserver import discovery, kinds, openapi
from steppe_lab.apiserver.api import Reply
from steppe_lab.apiserver.registry import Registry
from steppe_lab.apiserver.status import page_not_found

# The release whose behaviour this server follows.
_MINOR = 32
_HEALTH = ("healthz", "livez", "readyz")


class Documents:
    """Every fixed path; documents are encoded once per change of the set of kinds."""

    def __init__(self, registry: Registry, server: str) -> None:
        self._registry = registry
        self._server = server
        self._encoded: dict[tuple[str, ...], bytes] = {}
        self._generation = -1

    def find(  # noqa: PLR0911 - a table of paths
        self, path: tuple[str, ...], request: web.BaseRequest
    ) -> Reply | None:
        """The document at `path`; None where resources are."""
        match path:
            case (check, *_) if check in _HEALTH:
                return Reply(b"ok", media_type="text/plain; charset=utf-8")
            case ("version",):
                return self._cached(path, _version)
            case ():
                return self._cached(path, lambda: {"paths": ["/api", "/apis", "/openapi/v3"]})
            case ("api",) | ("apis",):
                return self._root(path[0], request.headers.get("Accept", ""))
            case ("api", version):
                return self._resources(path, "", version)
            case ("apis", group):
                return self._group(path, group)
            case ("apis", group, version):
                return self._resources(path, group, version)
            case ("openapi", *rest):
                return self._openapi(path, tuple(rest), request.headers.get("Accept", ""))
            case _:
                return None

    def _cached(self, key: tuple[str, ...], build: Callable[[], Any]) -> Reply:
        if self._generation != self._registry.generation:
            self._encoded.clear()
            self._generation = self._registry.generation
        body = self._encoded.get(key)
        if body is None:
            body = self._encoded[key] = msgspec.json.encode(build())
        return Reply(body)

    def _root(self, root: str, accept: str) -> Reply:
        registry = self._registry
        for version in ("v2", "v2beta1"):
            if f"g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" in accept:
                reply = self._cached(
                    (root, version),
                    lambda version=version: discovery.aggregated(  # type: ignore[misc]
                        registry, core=root == "api", version=version
                    ),
                )
                media_type = (
                    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                )
                return Reply(reply.body, media_type=media_type)
        if root == "api":
            return self._cached((root,), lambda: discovery.api_versions(self._server))
        return self._cached((root,), lambda: discovery.api_group_list(registry))

    def _group(self, path: tuple[str, ...], group: str) -> Reply:
        versions = discovery.groups(self._registry).get(group)
        if versions is None:
            raise page_not_found()
        return self._cached(path, lambda: discovery.api_group(group, versions))

    def _resources(self, path: tuple[str, ...], group: str, version: str) -> Reply:
        found = discovery.api_resource_list(self._registry, group, version)
        if found is None:
            raise page_not_found()
        return self._cached(path, lambda: found)

    def _openapi(self, path: tuple[str, ...], rest: tuple[str, ...], accept: str) -> Reply:
        match rest:
            case ("v2",) if openapi.V2_PROTOBUF in accept:
                # Clients ask with "@", which no Content-Type may hold.
                media_type = openapi.V2_PROTOBUF.replace("@", ".")
                return Reply(openapi.document_v2_protobuf(), media_type=media_type)
            case ("v2",):
                return self._cached(path, lambda: kinds.openapi_v2(tuple(self._registry)))
            case ("v3",):
                return self._cached(path, self._openapi_index)
            case ("v3", "api", version):
                return self._openapi_version(path, "", version)
            case ("v3", "apis", group, version):
                return self._openapi_version(path, group, version)
            case _:
                raise page_not_found()

    def _openapi_version(self, path: tuple[str, ...], group: str, version: str) -> Reply:
        served = self._registry.of_version(group, version)
        if not served:
            raise page_not_found()
        return self._cached(path, lambda: openapi.document_v3(group, version, served))

    def _openapi_index(self) -> Any:
        """Paths to the document of each group version; clients cache them by their hash."""
        paths = {}
        for group, versions in self._registry.groups().items():
            for version in versions:
                root = f"apis/{group}/{version}" if group else f"api/{version}"
                served = self._registry.of_version(group, version)
                seed = msgspec.json.encode([self._registry.generation, [k.kind for k in served]])
                digest = hashlib.sha256(seed).hexdigest()[:32]
                paths[root] = {"serverRelativeURL": f"/openapi/v3/{root}?hash={digest}"}
        return {"paths": paths}


def _version() -> dict[str, str]:
    return {
        "major": "1",
        "minor": str(_MINOR),
        "gitVersion": f"v1.{_MINOR}.0+steppe",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": f"Python {platform.python_version()}",
        "platform": f"linux/{platform.machine()}",
    }
