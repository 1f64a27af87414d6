"""Findings as SARIF 2.1.0, for pipelines that show them at the code.

Each check is a reportingDescriptor, each finding a result of it with a logical location (the
object and its field) and, where a manifest was read from a file, a physical one.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from steppe.kube.cause import ObjectRef
from steppe.lint.finding import Finding
from steppe.lint.registry import CHECKS
from steppe.manifests.documents import Manifest, opened, ref_of

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
PAGE = "docs/lint.md"


def sarif(findings: Iterable[Finding], version: str, files: Mapping[ObjectRef, str]) -> Any:
    """A log of one run; `files` is where objects were read, as `file:line`."""
    numbers = {check.id: number for number, check in enumerate(CHECKS)}
    rules = [
        {
            "id": check.id,
            "shortDescription": {"text": check.trap},
            "help": {"text": f"{check.trap}: see {PAGE}#{check.id}"},
            "defaultConfiguration": {"level": check.severity},
        }
        for check in CHECKS
    ]
    driver = {"name": "steppe", "semanticVersion": version, "rules": rules}
    results = [_result(found, numbers[found.check], files) for found in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(found: Finding, number: int, files: Mapping[ObjectRef, str]) -> dict[str, Any]:
    location: dict[str, Any] = {
        "logicalLocations": [{"fullyQualifiedName": str(found.cause), "kind": "object"}]
    }
    physical = _physical(files.get(found.cause.ref, ""))
    if physical:
        location["physicalLocation"] = physical
    return {
        "ruleId": found.check,
        "ruleIndex": number,
        "level": found.severity,
        "message": {"text": f"{found.cause}: {found.message}"},
        "locations": [location],
        "partialFingerprints": {"steppe/v1": f"{found.check} {found.cause}"},
    }


def places(manifests: Iterable[Manifest]) -> Mapping[ObjectRef, str]:
    """Where each object was read, as `file:line`; an item of a List is where the List begins."""
    return {
        ref_of(each.content): each.where
        for each in opened(manifests)
        if isinstance(each.content, dict) and each.where
    }


def _physical(where: str) -> dict[str, Any]:
    """The place of `file:line`; {} without one, as of a live cluster."""
    path, _, line = where.rpartition(":")
    if not line.isdecimal() or not path:
        return {}
    uri = quote(path.removeprefix("./"))
    return {"artifactLocation": {"uri": uri}, "region": {"startLine": max(int(line), 1)}}
