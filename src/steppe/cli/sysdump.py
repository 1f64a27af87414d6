"""`steppe sysdump`: one archive of what helps to find a fault, for somebody who has no login."""

import datetime as dt
import os
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import click
import msgspec

from steppe.cli.source import BadInput, Progress
from steppe.cli.sysdump_parts import Part, Unread, parts

SCHEMA = "steppe.sysdump/v1"


@click.command(
    epilog="Example: steppe sysdump --kubeconfig ~/.kube/config --to dump.tar.gz    and then, "
    "anywhere: tar xf dump.tar.gz; steppe explain -f dump/objects shop/web shop/db:5432"
)
@click.option("--context", default="", metavar="NAME", help="Which of a kubeconfig's contexts.")
@click.option("--kubeconfig", default="", metavar="FILE", help="A live cluster, read only.")
@click.option("--lab", metavar="NAME", help="Which lab, where several are up.")
@click.option("--node", metavar="NODE", help="The agents of one node; default: all in reach.")
@click.option(
    "--to", "target", type=click.Path(path_type=Path), metavar="FILE", help="The archive to write."
)
def sysdump(
    target: Path | None, node: str | None, lab: str | None, kubeconfig: str, context: str
) -> None:
    """Write objects, agents' answers and logs into one archive (tar.gz, for its owner alone).

    \b
      about.json        when, of what, by which version, and what could not be read
      objects/KIND.json what the API has; explain, reach, lint and diff take the folder with -f
      events.json       what Steppe has written to `kubectl describe`
      nodes/NODE/       the agent's status, tables, audit, denied packets; its report; its logs

    Without --kubeconfig the agents on this machine are asked, or those of a lab. With it, those of
    the cluster's nodes, in their pods, which takes `create` of pods/exec; without that right, what
    the API has is in the archive all the same.

    No Secrets are read. Of pods only what traffic depends on is kept: no environment, arguments,
    volumes or annotations. Names, labels, addresses and images stay. Logs are as they were written.

    Exit code: 0 all was read, 1 a part was not (about.json says which, and why), 2 bad usage.
    """  # noqa: D301 - \\b is click's mark of lines that are not filled
    if (kubeconfig or context) and lab is not None:
        raise click.UsageError("give one of --kubeconfig and --lab: which cluster is meant?")
    now = dt.datetime.now(dt.UTC)
    path = target or Path(f"steppe-sysdump-{now:%Y%m%d-%H%M%S}.tar.gz")
    if path.exists():
        raise click.UsageError(f"{path} exists; name another with --to FILE")
    unread = _write(path, now, parts(kubeconfig, context, lab, node, Progress()))
    click.echo(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)")
    for each in unread:
        click.echo(f"not in it: {each.what}: {each.why}", err=True)
    if unread:
        raise SystemExit(1)


def _write(path: Path, now: dt.datetime, found: Iterator[Part | Unread]) -> list[Unread]:
    """Write the archive in one step: it is there whole, or it is not there."""
    folder, _, _ = path.name.partition(".tar")
    partial, unread = path.with_name(f".{path.name}.partial"), list[Unread]()
    try:
        with (
            os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
            tarfile.open(fileobj=file, mode="w:gz") as archive,
        ):
            for each in found:
                if isinstance(each, Unread):
                    unread.append(each)
                else:
                    _add(archive, f"{folder}/{each.name}", each.content, now)
            about = {"schema": SCHEMA, "version": version("steppe"), "made": now.isoformat()}
            text = msgspec.json.format(msgspec.json.encode(about | {"unread": unread}))
            _add(archive, f"{folder}/about.json", text, now)
        partial.replace(path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return unread


def _add(archive: tarfile.TarFile, name: str, content: bytes, now: dt.datetime) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o600, int(now.timestamp())
    archive.addfile(member, BytesIO(content))
