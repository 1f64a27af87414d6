"""Results of tests: read from ginkgo's report, and kept with those of earlier runs."""

import json
from pathlib import Path
from typing import Any

from tests.kubernetes.e2e.groups import SIG, group_of, why_left_out

KEPT = Path(__file__).with_name("results.json")
Json = dict[str, Any]
_STATES = {"passed": "passed", "skipped": "skipped", "pending": "skipped"}
"""Of ginkgo (types.SpecState); the others are failures."""
_SAID = 300


def read(report: Path) -> dict[str, Json]:
    """By the test's name: what came of it, why, and in how many seconds.

    Also the tests of networks that this kind of run leaves out; not those of other groups.
    """
    found: dict[str, Json] = {}
    for suite in json.loads(report.read_text()):
        for spec in suite["SpecReports"] or ():
            name = _name(spec)
            if spec["LeafNodeType"] != "It" or not name.startswith(SIG):
                continue
            said = spec.get("Failure", {}).get("Message", "")
            result = _STATES.get(spec["State"], "failed")
            if result == "skipped" and not said:  # ginkgo did not run it
                if why := why_left_out(name):
                    found[name] = _row(name, "left out", why, 0)
                continue
            found[name] = _row(name, result, said, spec["RunTime"] / 1e9)
    return found


def kept() -> Json:
    """What earlier runs have left: `about` the cluster, and `tests`."""
    if not KEPT.exists():
        return {"about": {}, "tests": {}}
    held: Json = json.loads(KEPT.read_text())
    return held


def keep(about: dict[str, str], tests: dict[str, Json]) -> None:
    """Each test's last result; those of another cluster's runs are not mixed in."""
    held = kept()
    before = held["tests"] if held["about"] == about else {}
    merged = dict(sorted((before | tests).items()))
    KEPT.write_text(json.dumps({"about": about, "tests": merged}, indent=1) + "\n")


def _name(spec: Json) -> str:
    return " ".join([*(spec["ContainerHierarchyTexts"] or ()), spec["LeafNodeText"]])


def _row(name: str, result: str, said: str, seconds: float) -> Json:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return {
        "group": group_of(name),
        "result": result,
        "said": " ".join(lines)[:_SAID],
        "seconds": round(seconds),
    }
