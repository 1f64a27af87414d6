"""Manifests from files, folders and standard input: documents, each with its file and line.

YAML is read as Kubernetes' own tools read it, so a date is a string. The documents are interpreted
by the package `manifests`.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from steppe.document_limits import TooDeepError, check_json, check_yaml
from steppe.errors import SteppeError
from steppe.manifests.documents import Manifest

STANDARD_INPUT = "-"
_SUFFIXES = (".yaml", ".yml", ".json")


class UnreadableError(SteppeError):
    """A file is missing, or is not YAML or JSON; the message names the place and the reason."""


def manifests_in(names: Iterable[str]) -> Iterator[Manifest]:
    """Every document in these files and in all manifest files below these folders."""
    for name in names:
        if name == STANDARD_INPUT:
            yield from _documents(sys.stdin.buffer.read(), "standard input")
            continue
        for path in files_in(Path(name)):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise UnreadableError(f"cannot read {path}: {error.strerror}") from error
            yield from _documents(content, str(path))


def files_in(path: Path) -> Iterable[Path]:
    """The manifest files below a folder, sorted by name; a file's own path for a file."""
    if not path.is_dir():
        return (path,)
    found = sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
    if not found:
        raise UnreadableError(f"there is no manifest ({', '.join(_SUFFIXES)}) below {path}")
    return found


def _documents(content: bytes, name: str) -> Iterator[Manifest]:
    if content.lstrip().startswith((b"{", b"[")):
        # JSON is YAML too, but this is a hundred times faster; kubectl prints megabytes of it.
        with contextlib.suppress(msgspec.DecodeError):
            _checked(check_json, content, name)
            yield Manifest(msgspec.json.decode(content), f"{name}:1")
            return
    _checked(check_yaml, content, name)
    yield from _yaml_documents(content, name)


def _checked(check: Callable[[bytes], None], content: bytes, name: str) -> None:
    try:
        check(content)
    except TooDeepError as error:
        raise UnreadableError(f"{name}:{error.line or 1} is no manifest: {error}") from error


def _yaml_documents(content: bytes, name: str) -> Iterator[Manifest]:
    import yaml

    loader = _loader()(content)
    try:
        while loader.check_node():
            node = loader.get_node()
            where = f"{name}:{node.start_mark.line + 1}"
            yield Manifest(loader.construct_document(node), where)
    except (yaml.YAMLError, ValueError, UnicodeError) as error:
        raise UnreadableError(_sentence(error, content, name)) from error
    finally:
        loader.dispose()


def _sentence(error: Exception, content: bytes, name: str) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{name}:{mark.line + 1}" if mark else name
    what = getattr(error, "problem", None) or str(error).partition("\n")[0]
    hint = "; is it a template? `helm template` makes manifests of one" if b"{{" in content else ""
    return f"{where} is no YAML: {what}{hint}"


def _loader() -> Any:
    """A safe loader that keeps dates as text; the C loader if PyYAML was built with it."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
            first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":timestamp")]
            for first, resolvers in base.yaml_implicit_resolvers.items()
        }

    return Loader
