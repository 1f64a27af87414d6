"""What the image is made of, as CycloneDX 1.5: Debian packages and Python distributions."""

import datetime as dt
import json
from typing import Any
from urllib.parse import quote

from tools.image.debian import Package
from tools.image.python import Wheel


def document(
    name: str, digest: str, epoch: int, packages: list[Package], wheels: list[Wheel]
) -> str:
    """JSON, the same for the same image."""
    made = dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    component = {
        "type": "container",
        "name": name,
        "version": digest,
        "bom-ref": f"{name}@{digest}",
        "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
    }
    found = [*map(_package, packages), *map(_wheel, wheels)]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"timestamp": made, "component": component},
        "components": sorted(found, key=lambda each: str(each["purl"])),
    }
    return json.dumps(bom, indent=1) + "\n"


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _package(package: Package) -> dict[str, Any]:
    version = quote(package.version, safe="")
    where = f"arch={package.architecture}&distro=debian-12"
    purl = f"pkg:deb/debian/{quote(package.name, safe='')}@{version}?{where}"
    return _component("library", package.name, package.version, purl)


def _wheel(wheel: Wheel) -> dict[str, Any]:
    meta = wheel.metadata
    purl = f"pkg:pypi/{wheel.name}@{quote(meta['Version'], safe='')}"
    licence = meta["License-Expression"] or (meta["License"] or "").split("\n")[0].strip()
    said = {"licenses": [{"license": {"name": licence}}]} if licence else {}
    return _component("library", wheel.name, meta["Version"], purl) | said
