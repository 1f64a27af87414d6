"""Runs `netcases/1` files: `python -m tests.conformance.netpol --cases DIR [--live]`.

Offline, each step's matrix is put to every judge in JUDGES: something that tells for a world of
API objects whether a packet gets through. Prints one line a failed case and `N passed, N failed`.
Exit codes: 0 all passed, 1 some failed, 2 a file or an option that is not understood.
"""

import argparse
import asyncio
import copy
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

import steppe.kube
from steppe.net.packet import Packet
from steppe_lab.apiserver.kinds import BUILTIN, Context, Kind, admit_create, custom_kinds
from tests.conformance.netpol_cases import (
    Apply,
    Case,
    NotUnderstood,
    Probe,
    ValidationCase,
    read_folder,
)
from tests.conformance.netpol_judges import JUDGES
from tests.conformance.netpol_live import run
from tests.conformance.netpol_world import State, Trial

SOURCE_PORT = 40000
_PATIENT_SECONDS = 2.0
CRD = Path(steppe.kube.__file__).parent / "crds" / "clusternetworkpolicies.yaml"
KINDS: Mapping[tuple[Any, Any], Kind] = {
    (kind.api_version, kind.kind): kind
    for kind in (*BUILTIN, *custom_kinds(yaml.safe_load(CRD.read_text())))
}
"""What the API server of a cluster with Steppe knows."""


def failures(case: Case | ValidationCase) -> list[str]:
    """What is wrong, a line each; none where the case passes."""
    if isinstance(case, ValidationCase):
        return [*_validation_failures(case.manifest, case.expect == "accept", case.id)]
    return [*_reach_failures(case), *_api_failures(case)]


def _reach_failures(case: Case) -> Iterator[str]:
    state = State(case.setup)
    for number, step in enumerate(case.steps, 1):
        for action in step.actions:
            state.do(action)
        world = state.world()
        for name, judge in JUDGES.items():
            gets_through = judge(world)
            for probe in step.probes:
                for trial in state.trials(probe):
                    got = gets_through(_packet(trial, probe))
                    if got != trial.allowed:
                        where = f"{case.id} step {number} {trial.source} > {trial.destination}"
                        how = f"{probe.protocol} {trial.port} IPv{trial.source_address.version}"
                        outcome = f"expected {_word(trial.allowed)}, got {_word(got)} ({name})"
                        yield f"{where} {how}: {outcome}"


def _packet(trial: Trial, probe: Probe) -> Packet:
    return Packet(
        trial.source_address,
        trial.destination_address,
        probe.protocol,
        SOURCE_PORT,
        trial.port,
    )


def _word(allowed: bool) -> str:
    return "allow" if allowed else "deny"


def _api_failures(case: Case) -> Iterator[str]:
    """A case's manifests can be stored, unless it is for engines that are fed directly."""
    if case.api_server_rejects:
        return
    for number, step in enumerate(case.steps, 1):
        for action in step.actions:
            if isinstance(action, Apply):
                yield from _validation_failures(action.manifest, True, f"{case.id} step {number}")


def _validation_failures(manifest: dict[str, Any], accepted: bool, where: str) -> Iterator[str]:
    kind = KINDS.get((manifest.get("apiVersion"), manifest.get("kind")))
    if kind is None:
        raise NotUnderstood(f"{where}: a manifest of kind {manifest.get('kind')!r}")
    errors = admit_create(kind, copy.deepcopy(manifest), Context()).errors
    if accepted == bool(errors):
        why = "; ".join(f"{error.field}: {error.message}" for error in errors) or "no error"
        yield f"{where}: expected {'accept' if accepted else 'reject'}, got {why} (API server)"


class _Report:
    """Prints a line a failed case, and how far it has come where somebody watches."""

    def __init__(self, total: int) -> None:
        self.passed = self.failed = 0
        self._total = total
        self._began = time.monotonic()

    def add(self, case: Case | ValidationCase, found: list[str]) -> None:
        self._clear()
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            print(f"{found[0]}{more}", flush=True)  # noqa: T201
        self.failed += bool(found)
        self.passed += not found
        if sys.stderr.isatty() and time.monotonic() - self._began > _PATIENT_SECONDS:
            done = self.passed + self.failed
            print(f"[{done}/{self._total}] {case.id}", end="", file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        self._clear()
        print(f"{self.passed} passed, {self.failed} failed")  # noqa: T201

    def _clear(self) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.netpol")
    parser.add_argument("--cases", type=Path, required=True, help="folder of netcases/1 files")
    parser.add_argument("--live", action="store_true", help="probe a lab instead")
    options = parser.parse_args(arguments)
    try:
        cases = list(read_folder(options.cases))
        report = _Report(len(cases))
        if options.live:
            asyncio.run(run(cases, f"netpol-{os.getpid()}", report.add))
        else:
            for case in cases:
                report.add(case, _of(case))
    except NotUnderstood as error:
        print(f"not understood: {error}", file=sys.stderr)  # noqa: T201
        return 2
    report.close()
    return 1 if report.failed else 0


def _of(case: Case | ValidationCase) -> list[str]:
    try:
        return failures(case)
    except (NotUnderstood, ValueError, KeyError) as error:
        # A bad address, a manifest without a name or of the wrong shape: all are the file's.
        raise NotUnderstood(f"case {case.id}: {error!r}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
