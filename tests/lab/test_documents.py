"""The JSON documents of `steppe lab`: their schema is a promise to those who read them."""

import msgspec
import pytest

from steppe_lab.probe.run import Report
from steppe_lab.record import Options, Record
from steppe_lab.status import Status


@pytest.mark.parametrize(
    ("document", "schema"),
    [
        (Record(Options(), "admin.kubeconfig"), "steppe.lab/v1"),
        (Status(Options(), "admin.kubeconfig", ()), "steppe.lab-status/v1"),
        (Report(ok=True, results=(), skipped=()), "steppe.lab-probe/v1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_document_says_its_schema(document: msgspec.Struct, schema: str) -> None:
    assert msgspec.json.decode(msgspec.json.encode(document))["schema"] == schema
