"""Tables: what `kubectl get` shows, cell by cell (pkg/printers/internalversion)."""

from datetime import datetime

from steppe.admission.custom import CustomKind
from steppe.admission.model import Json, Kind
from steppe_lab.apiserver.kinds.jsonpath import find
from steppe_lab.apiserver.kinds.printers import cluster, network, pods, workloads
from steppe_lab.apiserver.kinds.printers.cells import AGE, NAME, Printer, age, column, since

_DEFAULT = Printer((NAME, AGE), lambda obj, now: [age(obj, now)])

_PRINTERS: dict[tuple[str, str], Printer] = {
    **cluster.PRINTERS,
    **network.PRINTERS,
    **pods.PRINTERS,
    **workloads.PRINTERS,
}


def table(kind: Kind, objs: list[Json], now: datetime) -> Json:
    """A meta.k8s.io/v1 Table; each row has its cells only, in the order of the objects."""
    printer = _PRINTERS.get((kind.group, kind.kind), _DEFAULT)
    if isinstance(kind, CustomKind):
        printer = _custom(kind)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": list(printer.columns),
        "rows": [
            {"cells": [obj["metadata"].get("name", "")] * printer.named + printer.row(obj, now)}
            for obj in objs
        ],
    }


def _custom(kind: CustomKind) -> Printer:
    """A table of additionalPrinterColumns, each the first value at its JSONPath."""

    def row(obj: Json, now: datetime) -> list[object]:
        cells: list[object] = []
        for item in kind.columns:
            found = find(item.path, obj)
            cells.append(_cell(item.type, found[0], now) if found else None)
        return cells

    columns = [
        column(item.name, item.type, item.priority, item.description, item.format)
        for item in kind.columns
    ]
    return Printer((NAME, *columns), row)


def _cell(type_: str, value: object, now: datetime) -> object:
    if type_ == "date":
        return since(value, now) if isinstance(value, str) else "<unknown>"
    if type_ == "string":
        return value if isinstance(value, str) else _shown(value)
    if type_ == "boolean":
        return value if isinstance(value, bool) else None
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return value if numeric else None


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
