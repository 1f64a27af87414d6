"""Golden explanations: one cluster, asked in the words that people type.

Each text is written twice: through Steppe's tables, and as another network's cluster would be
explained (`-promised`).
"""

import shlex
from pathlib import Path

import click
import yaml

from steppe.cli.explain_text import text
from steppe.explain.explain import Explainer
from steppe.explain.tables import compiled
from steppe.manifests.cluster import cluster_from
from steppe.settings import Settings

FOLDER = Path(__file__).parent / "explain"
WIDTH = 100


def asks() -> dict[str, str]:
    found = yaml.safe_load((FOLDER / "asks.yaml").read_text())
    return {name: str(words) for name, words in found.items()}


def explained(words: str, *, promised: bool, width: int = WIDTH) -> str:
    cluster, problems = cluster_from(yaml.safe_load_all((FOLDER / "cluster.yaml").read_text()))
    assert problems == ()
    in_tables = None if promised else compiled(Settings(fabric="vxlan"))
    explainer = Explainer(cluster, in_tables)
    source, destination, *rest = shlex.split(words)
    port, protocol = (*rest, "", "")[:2]
    chosen = protocol.upper() or None
    flow, notes = explainer.flow(source, destination, port, chosen)  # type: ignore[arg-type]
    said = explainer.explain(flow, notes=notes)
    return click.unstyle(text(said, width)) + "\n"


def rendered() -> dict[str, str]:
    """All texts by file name."""
    return {
        f"{name}{'-promised' if promised else ''}.txt": explained(words, promised=promised)
        for name, words in asks().items()
        for promised in (False, True)
    }
