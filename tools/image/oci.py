"""An OCI archive: layers, configuration, manifest and index in one tar file.

https://github.com/opencontainers/image-spec: image-layout.md, manifest.md, config.md
"""

import datetime as dt
import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from tools.image.tree import Tree, file, write_tar

_TYPE = "application/vnd.oci.image."


class Image(NamedTuple):
    """What an image is made of; `epoch` is the time of everything in it, in Unix seconds."""

    name: str
    architecture: str
    epoch: int
    layers: list[tuple[str, Tree]]
    """Each with a line for the history."""
    run: dict[str, Any]
    """The part `config` of the configuration: entry point, environment, labels."""


class _Blobs:
    """Data by its digest."""

    def __init__(self) -> None:
        self.tree: Tree = {}

    def add(self, data: bytes, media: str) -> dict[str, Any]:
        """Keep it; returns its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        self.tree[f"blobs/sha256/{digest}"] = file(data)
        return {"mediaType": _TYPE + media, "digest": f"sha256:{digest}", "size": len(data)}


def write(image: Image, path: Path) -> str:
    """Write the archive; returns the manifest's digest, by which registries know the image."""
    blobs = _Blobs()
    platform = {"architecture": image.architecture, "os": "linux"}
    described = {**_manifest(image, platform, blobs), "platform": platform}
    described["annotations"] = {
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
    }
    index = {"schemaVersion": 2, "mediaType": f"{_TYPE}index.v1+json", "manifests": [described]}
    blobs.tree["index.json"] = file(_json(index))
    blobs.tree["oci-layout"] = file(_json({"imageLayoutVersion": "1.0.0"}))
    with path.open("wb") as stream:
        write_tar(blobs.tree, stream, image.epoch)
    return str(described["digest"])


def _manifest(image: Image, platform: dict[str, str], blobs: _Blobs) -> dict[str, Any]:
    made = dt.datetime.fromtimestamp(image.epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    layers, unpacked = [], []
    for _, tree in image.layers:
        raw = io.BytesIO()
        write_tar(tree, raw, image.epoch)
        unpacked.append(f"sha256:{hashlib.sha256(raw.getvalue()).hexdigest()}")
        layers.append(blobs.add(gzip.compress(raw.getvalue(), mtime=0), "layer.v1.tar+gzip"))
    configuration = {
        "created": made,
        **platform,
        "config": image.run,
        "rootfs": {"type": "layers", "diff_ids": unpacked},
        "history": [{"created": made, "created_by": line} for line, _ in image.layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}manifest.v1+json",
        "config": blobs.add(_json(configuration), "config.v1+json"),
        "layers": layers,
    }
    return blobs.add(_json(manifest), "manifest.v1+json")


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
