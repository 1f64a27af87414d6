"""Manifests from files, folders and standard input: documents, each with its file and line.

Documents are decoded by `manifests/yaml_text.py` and interpreted by `manifests/documents.py`. Which
files of a folder are manifests is decided in `folders.py`. A file that is named and cannot be read
is an error; in a folder it is one Manifest with a fault, and the others are read.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from steppe.client.folders import SUFFIXES, Built, Left, UnreadableError, contents_of
from steppe.document_limits import TooDeepError, check_json
from steppe.manifests.documents import Manifest
from steppe.manifests.relevant import passed_over
from steppe.manifests.yaml_text import YamlError, documents_of, parts_of

__all__ = ["SUFFIXES", "UnreadableError", "manifests_in"]

STANDARD_INPUT = "-"
_GLANCE = re.compile(
    rb"^(?P<field>apiVersion|kind|  namespace|  name):[ \t]+[\"']?(?P<value>[\w./-]+)", re.MULTILINE
)


def manifests_in(names: Iterable[str]) -> Iterator[Manifest]:
    """Every document in these files and in all manifest files below these folders."""
    for name in names:
        if name == STANDARD_INPUT:
            content = sys.stdin.buffer.read()
            if not content.strip():  # such as the output of a program that failed
                raise UnreadableError("standard input is empty: no manifest came")
            yield from _documents(content, "standard input")
        elif Path(name).is_dir():
            yield from _in_folder(Path(name))
        else:
            yield from _documents(_read(Path(name)), name)


def _in_folder(folder: Path) -> Iterator[Manifest]:
    """What a folder holds; UnreadableError if nothing of it can be read."""
    found = list(_parts_of(folder))
    if found and all(manifest.fault for manifest in found):
        raise UnreadableError(f"{found[0].where} {found[0].fault}")
    yield from found


def _parts_of(folder: Path) -> Iterator[Manifest]:
    for each in contents_of(folder):
        if isinstance(each, Left):
            yield Manifest(None, str(each.path), each.why)
            continue
        name = each.name if isinstance(each, Built) else str(each)
        try:
            content = each.content if isinstance(each, Built) else _read(each)
        except UnreadableError as error:
            yield Manifest(None, name, str(error).removeprefix(f"{name}: "))
            continue
        yield from _tolerant(content, name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "; `curl URL | steppe … -f -` reads it from there" if ":/" in str(path) else ""
        raise UnreadableError(f"cannot read {path}: {error.strerror}{hint}") from error


def _documents(content: bytes, name: str) -> Iterator[Manifest]:
    """The documents of a source that somebody named: what is wrong in it is an error."""
    for manifest in _tolerant(content, name):
        if manifest.fault:
            raise UnreadableError(f"{manifest.where} {manifest.fault}")
        yield manifest


def _tolerant(content: bytes, name: str) -> Iterator[Manifest]:
    found = _json(content, name) if content.lstrip()[:1] in (b"{", b"[") else None
    if found is not None:
        yield from found
        return
    for part in parts_of(content):
        if passed_over(part.text):
            continue
        try:
            for each in documents_of(part.text):
                where = f"{name}:{part.line + each.line - 1}"
                yield Manifest(each.content, where, twice=each.twice)
        except YamlError as error:
            line = part.line + error.line - 1 if error.line else 0
            where = f"{name}:{line}" if line else name
            yield Manifest(_glance(part.text), where, _sentence(error, part.text))


def _json(content: bytes, name: str) -> list[Manifest] | None:
    """The documents of JSON: one, or several one after the other, as kubectl takes them; None if it
    is none, so that YAML is tried (`{a: 1}`).
    """
    # JSON is YAML too, but this is a hundred times faster; kubectl prints megabytes of it.
    try:
        check_json(content)
        return [Manifest(msgspec.json.decode(content), f"{name}:1")]
    except TooDeepError as error:
        return [Manifest(None, f"{name}:{error.line or 1}", f"is no manifest: {error}")]
    except msgspec.DecodeError:
        return _json_stream(content, name)


def _json_stream(content: bytes, name: str) -> list[Manifest] | None:
    import json

    try:
        text = content.decode()
        decoder, found, at = json.JSONDecoder(), [], 0
        while (at := _skipped(text, at)) < len(text):
            value, end = decoder.raw_decode(text, at)
            found.append(Manifest(value, f"{name}:{text.count(chr(10), 0, at) + 1}"))
            at = end
    except ValueError:
        return None
    return found


def _skipped(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _glance(text: bytes) -> Any:
    """What the lines of a document that is not read tell about which object it is; None if they
    tell no kind.
    """
    found = {
        each["field"].decode().strip(): each["value"].decode() for each in _GLANCE.finditer(text)
    }
    if "kind" not in found or "apiVersion" not in found:
        return None
    metadata = {key: found[key] for key in ("name", "namespace") if key in found}
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": metadata}


def _sentence(error: YamlError, text: bytes) -> str:
    if isinstance(error.__cause__, TooDeepError):
        return f"is no manifest: {error}"
    hint = "; is it a template? `helm template` makes manifests of one" if b"{{" in text else ""
    return f"is no YAML: {error}{hint}"
