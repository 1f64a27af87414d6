"""How objects look on the wire: whole, as a Table, or by their metadata only; single and listed.

The whole form is the common one and costs no encoding: the store keeps every object encoded.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver import kinds
from steppe_lab.apiserver.kinds import Kind
from steppe_lab.apiserver.negotiation import Form, encode
from steppe_lab.apiserver.status import bad_request
from steppe_lab.apiserver.store import Record

_META = "meta.k8s.io"


class Viewer(msgspec.Struct, frozen=True):
    """Turns records of one kind into what one request asked for."""

    kind: Kind
    form: Form
    include: str = "Metadata"
    now: dt.datetime | None = None

    def one(self, record: Record) -> bytes:
        record = in_version(self.kind, record)
        if self.form.whole_json:
            return record.raw
        return encode(self._viewed(record), self.form.media_type)

    def many(self, records: Sequence[Record], metadata: Json) -> bytes:
        records = [in_version(self.kind, record) for record in records]
        if self.form.whole_json:
            head = msgspec.json.encode(
                {
                    "kind": f"{self.kind.kind}List",
                    "apiVersion": self.kind.api_version,
                    "metadata": metadata,
                }
            )
            items = b",".join([record.raw for record in records])
            return b'%b,"items":[%b]}' % (head[:-1], items)
        return encode(self._listed(records, metadata), self.form.media_type)

    def _listed(self, records: Sequence[Record], metadata: Json) -> Json:
        if self.form.view == "Table":
            return self._table(records, metadata)
        if self.form.view == "PartialObjectMetadata":
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"{_META}/{self.form.version}",
                "metadata": metadata,
                "items": [self._partial(record) for record in records],
            }
        return {
            "kind": f"{self.kind.kind}List",
            "apiVersion": self.kind.api_version,
            "metadata": metadata,
            "items": [record.object for record in records],
        }

    def _viewed(self, record: Record) -> Json:
        if self.form.view == "Table":
            metadata = {"resourceVersion": str(record.revision)}
            return self._table([record], metadata)
        if self.form.view == "PartialObjectMetadata":
            return self._partial(record)
        return record.object

    def _partial(self, record: Record) -> Json:
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"{_META}/{self.form.version}",
            "metadata": record.object["metadata"],
        }

    def _table(self, records: Sequence[Record], metadata: Json) -> Json:
        now = self.now or dt.datetime.now(dt.UTC)
        table = kinds.table(self.kind, [record.object for record in records], now)
        for row, record in zip(table["rows"], records, strict=True):
            row["object"] = self._row_object(record)
        return table | {
            "kind": "Table",
            "apiVersion": f"{_META}/{self.form.version}",
            "metadata": metadata,
        }

    def _row_object(self, record: Record) -> Any:
        match self.include:
            case "None":
                return None
            case "Object":
                return record.object
            case "Metadata" | "":
                return self._partial(record)
            case other:
                raise bad_request(f"invalid includeObject {other!r}: None, Metadata or Object")


def in_version(kind: Kind, record: Record) -> Record:
    """The record in the version asked for; the versions differ in nothing but their name."""
    if record.object.get("apiVersion") == kind.api_version:
        return record
    renamed = record.object | {"apiVersion": kind.api_version}
    return Record(record.revision, renamed, msgspec.json.encode(renamed))
