"""The formats of `steppe explain -o`: a new one is a function and a line in OUTPUTS."""

import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import click
import msgspec
import yaml

from steppe.cli.explain_text import text
from steppe.explain.document import document
from steppe.explain.dot import dot
from steppe.explain.model import Explanation
from steppe.explain.page import page
from steppe.manifests.cluster import Loaded


def _document(loaded: Loaded, said: Explanation) -> dict[str, Any]:
    found = document(said) | {
        "gaps": list(loaded.gaps),
        "problems": [str(problem) for problem in loaded.problems],
    }
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def _json(loaded: Loaded, said: Explanation) -> str:
    return msgspec.json.format(msgspec.json.encode(_document(loaded, said))).decode()


def _yaml(loaded: Loaded, said: Explanation) -> str:
    written: str = yaml.safe_dump(_document(loaded, said), sort_keys=False, allow_unicode=True)
    return written.rstrip()


def _text(_: Loaded, said: Explanation) -> str:
    return text(said, shutil.get_terminal_size((100, 24)).columns)


def _dot(_: Loaded, said: Explanation) -> str:
    return dot(said)


def _html(loaded: Loaded, said: Explanation) -> str:
    return page(said, loaded.gaps)


OUTPUTS: Mapping[str, Callable[[Loaded, Explanation], str]] = {
    "text": _text,
    "json": _json,
    "yaml": _yaml,
    "html": _html,
    "dot": _dot,
}


def show(loaded: Loaded, said: Explanation, output: str, *, plain: bool) -> None:
    """Prints the explanation; `plain`, as NO_COLOR, is without colours."""
    plain = plain or bool(os.environ.get("NO_COLOR"))
    click.echo(OUTPUTS[output](loaded, said), color=False if plain else None)
