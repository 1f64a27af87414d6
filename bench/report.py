"""What was measured, as a table to read and as JSON to keep."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from tabulate import tabulate

from bench.model import Result

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What a number depends on besides the code; the load tells whether others were at work."""
    return {
        "kernel": os.uname().release,
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
    }


def table(results: list[Result]) -> str:
    """One row a target."""
    rows = [
        (
            result.target.what,
            str(result.target),
            str(result),
            "ok" if result.ok else "MISSED",
        )
        for result in results
    ]
    return tabulate(rows, headers=("what", "reach", "measured", ""), disable_numparse=True)


def document(results: list[Result], began: dict[str, Any]) -> bytes:
    """The results as JSON, with the state of the machine before the first of them."""
    rows = [
        {
            "what": result.target.what,
            "reach": str(result.target),
            "measured": result.value,
            "unit": result.target.unit,
            "ok": result.ok,
            "details": result.details,
        }
        for result in results
    ]
    return msgspec.json.format(
        msgspec.json.encode({"schema": "steppe.bench/v1", "machine": began, "results": rows})
    )


def save(content: bytes) -> Path:
    """Keep a document under the time of day; earlier ones stay for comparison."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.write_bytes(content)
    return path
