"""Manifests, read from files and applied through the API as `kubectl apply --server-side` does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import steppe.kube
from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.folders import Built, Left, contents_of
from steppe.client.reports import NAMESPACE
from steppe.client.resources import Resource
from steppe.manifests.yaml_text import YamlError, documents_of, parts_of
from steppe_lab.record import LabError

Json = dict[str, Any]

DEFINITIONS = tuple(sorted((Path(steppe.kube.__file__).parent / "crds").glob("*.yaml")))
"""Of the kinds that Steppe reads and no API server has by itself, a file each."""
STATUS_NAMESPACE: Json = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": NAMESPACE},
}
"""Where agents report how their nodes are."""


def read_manifests(files: tuple[Path, ...]) -> tuple[Json, ...]:
    """Every object of the files and folders, in order; a List counts as its items."""
    return tuple(found for path in files for source in _sources(path) for found in _read(*source))


def _sources(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the content of each file, and of what was built of kustomizations.

    LabError for what a folder has and is not read, such as a chart: it is not applied in part.
    """
    for each in contents_of(path) if path.is_dir() else (path,):
        if isinstance(each, Left):
            what = f"{each.path} {each.why.partition(';')[0]}"
            raise LabError(f"{what}; nothing of {path} is applied: give what it makes as a file")
        if isinstance(each, Built):
            yield each.name, each.content
            continue
        try:
            yield str(each), each.read_bytes()
        except OSError as error:
            raise LabError(f"{each}: {error.strerror}") from error


def _read(file: str, content: bytes) -> list[Json]:
    try:
        parts = parts_of(content)
        documents = [each.content for part in parts for each in documents_of(part.text)]
    except YamlError as error:
        raise LabError(f"{file} is not YAML: {error}") from error
    found: list[Json] = []
    for document in filter(None, documents):
        _check(document, file)
        items = document.get("items") if str(document["kind"]).endswith("List") else None
        for item in [document] if items is None else items:
            _check(item, file)
            _check_name(item, file)
            found.append(item)
    return found


def _check(document: object, file: str) -> None:
    if not isinstance(document, dict) or not document.get("apiVersion") or "kind" not in document:
        raise LabError(f"{file}: a document without apiVersion and kind is no Kubernetes object")


def _check_name(document: Json, file: str) -> None:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise LabError(f"{file}: a {document['kind']} without metadata.name")


async def apply(client: Client, objects: tuple[Json, ...]) -> None:
    """Create or update each object; the client's name becomes the field manager."""
    for item in objects:
        resource = await _resource(client, item)
        metadata = item["metadata"]
        namespace = metadata.get("namespace") or "default"
        try:
            await client.patch(
                resource,
                metadata["name"],
                item,
                namespace if resource.namespaced else "",
                kind="apply",
            )
        except ApiError as error:
            raise LabError(f"{item['kind']} {metadata['name']}: {error}") from error


async def _resource(client: Client, item: Json) -> Resource:
    """Where the server keeps objects of this kind, by its own discovery document."""
    group, _, version = str(item["apiVersion"]).rpartition("/")
    path = f"/apis/{group}/{version}" if group else f"/api/{version}"
    try:
        discovered = await client.get_path(path)
    except ApiError as error:
        raise LabError(f"{item['apiVersion']} is not served: {error}") from error
    for each in discovered["resources"]:
        if each["kind"] == item["kind"] and "/" not in each["name"]:
            return Resource(group, version, each["name"], each["kind"], each["namespaced"])
    raise LabError(f"the server knows no kind {item['kind']} in {item['apiVersion']}")
