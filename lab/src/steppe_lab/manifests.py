"""Manifests, read from files and applied through the API as `kubectl apply --server-side` does."""

from pathlib import Path
from typing import Any

import steppe.kube
from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.files import files_in
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
    return tuple(found for path in files for file in files_in(path) for found in _read(file))


def _read(file: Path) -> list[Json]:
    try:
        parts = parts_of(file.read_bytes())
        documents = [each.content for part in parts for each in documents_of(part.text)]
    except OSError as error:
        raise LabError(f"{file}: {error.strerror}") from error
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


def _check(document: object, file: Path) -> None:
    if not isinstance(document, dict) or not document.get("apiVersion") or "kind" not in document:
        raise LabError(f"{file}: a document without apiVersion and kind is no Kubernetes object")


def _check_name(document: Json, file: Path) -> None:
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
