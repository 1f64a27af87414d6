"""The store: versions, history, and what survives a restart."""

from pathlib import Path
from typing import Any

import pytest

from steppe_lab.apiserver.database import Database
from steppe_lab.apiserver.store import Change, Log, Record, Store


def named(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Database(tmp_path / "state.db"))


def test_every_write_has_a_version_of_its_own(store: Store) -> None:
    first = store.put("pods", named("a"))
    second = store.put("services", named("a"))
    third = store.remove("pods", first.copy())
    assert [first.revision + 1, second.revision + 1] == [second.revision, third.revision]
    assert store.get("pods", "default", "a") is None
    assert store.get("services", "default", "a") is second


def test_a_past_version_is_shown_as_it_was(store: Store) -> None:
    store.put("pods", named("a", x=1))
    before = store.put("pods", named("b", x=1)).revision
    store.put("pods", named("a", x=2))
    store.remove("pods", named("b"))
    store.put("pods", named("c"))
    past = store.collection("pods").at(before)
    assert past is not None
    assert {key[1]: record.object["spec"] for key, record in past.items()} == {
        "a": {"x": 1},
        "b": {"x": 1},
    }


def test_a_restart_forgets_history_but_no_object(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    store = Store(database)
    old = store.put("pods", named("a", x=1)).revision
    store.put("pods", named("a", x=2))
    store.put("pods", named("gone"))
    last = store.remove("pods", named("gone")).revision
    database.close()
    again = Store(Database(tmp_path / "state.db"))
    assert again.revision == last
    pods = again.collection("pods")
    assert [record.object["spec"] for record in pods.records.values()] == [{"x": 2}]
    assert pods.at(old) is None
    assert pods.log.after(last) == 0


@pytest.mark.parametrize("before", [None, 0o644])
def test_the_state_file_is_its_owners_alone(tmp_path: Path, before: int | None) -> None:
    """Secrets are in it; an earlier version, or a copy, may have left it open to all."""
    path = tmp_path / "state.db"
    if before is not None:
        path.touch()
        path.chmod(before)
    Store(Database(path)).put("secrets", named("a"))
    written = sorted(tmp_path.iterdir())
    assert path in written
    assert {each.stat().st_mode & 0o777 for each in written} == {0o600}


def test_the_log_says_when_a_reader_missed_changes() -> None:
    log = Log(floor=10, limit=4)
    for revision in range(11, 31):
        record = Record(revision, named(str(revision)), b"{}")
        log.append(Change("ADDED", record, None))
    assert log.after(12) is None
    position = log.after(27)
    assert position is not None
    changes = log.since(position)
    assert changes is not None
    assert [change.revision for change in changes] == [28, 29, 30]
    assert log.since(0) is None
    assert log.since(log.end) == []
