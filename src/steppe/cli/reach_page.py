"""Reach as one self-contained HTML page: a document of `steppe.reach/v1` inside `reach.html`."""

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources

import msgspec

from steppe.cli.source import Source


class About(msgspec.Struct, frozen=True):
    """What a page is of: the cluster, when it was asked, and the options that name it."""

    cluster: str
    made: str
    source: tuple[str, ...] = ()


def about(source: Source) -> About:
    """What a page of this source says of itself."""
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if source.filenames:
        named = [f"-f {shlex.quote(name)}" for name in source.filenames]
        return About(", ".join(source.filenames), made, tuple(named))
    if source.kubeconfig or source.context:
        pairs = (("--kubeconfig", source.kubeconfig), ("--context", source.context))
        given = tuple(f"{option} {shlex.quote(value)}" for option, value in pairs if value)
        return About(source.context or source.kubeconfig, made, given)
    named = [f"--lab {shlex.quote(source.lab)}"] if source.lab else []
    return About(f"lab {source.lab}" if source.lab else "the lab", made, tuple(named))


def page(document: Mapping[str, object], of: About) -> str:
    """The page of a `steppe.reach/v1` document with doubts; it loads nothing from elsewhere."""
    template = resources.files("steppe.cli").joinpath("reach.html").read_text(encoding="utf-8")
    # The data must not contain text that ends its script element or begins a comment.
    data = msgspec.json.encode({**document, "about": of}).decode().replace("<", "\\u003c")
    return template.replace("@DATA@", data)
