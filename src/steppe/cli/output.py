"""What several commands print: JSON, and what is wrong with the input."""

import click
import msgspec

from steppe.manifests.cluster import Loaded


def say_doubts(loaded: Loaded) -> None:
    """Print what is wrong with the input, and what is missing in the answer."""
    for problem in loaded.problems:
        click.echo(f"problem: {problem}", err=True)
    for gap in loaded.gaps:
        click.echo(f"not in the answer: {gap}", err=True)


def print_json(document: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
