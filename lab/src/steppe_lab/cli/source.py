"""Which lab a command is about, for the commands that ask about a cluster."""

import click

from steppe.cli.plugins import LabRecord
from steppe_lab import record
from steppe_lab.record import Record


def lab_record(lab: str) -> Record:
    """The lab of this name, or where none is named the only one that is up."""
    folders = record.LABS_DIR.glob("*/lab.json")
    names = [lab] if lab else sorted(path.parent.name for path in folders)
    if not names:
        raise click.UsageError(
            "which cluster? -f FILE reads manifests, --kubeconfig FILE a live cluster; "
            "no lab is up on this machine (`steppe lab up` starts one)"
        )
    if len(names) > 1:
        raise click.UsageError(f"several labs are up ({', '.join(names)}): say --lab NAME")
    return record.read_record(names[0])


def lab_source(lab: str) -> LabRecord:
    """The entry point `lab` of steppe.sources: as much of a record as the core knows of."""
    return lab_record(lab)
