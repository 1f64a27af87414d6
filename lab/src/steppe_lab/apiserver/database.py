"""The SQLite file behind the store: every object as JSON, and the last resourceVersion.

It decides durability only. A write is committed before it is answered, so that a killed
server forgets nothing; `synchronous=OFF` gives up what only a crash of the machine could
lose, and a lab does not outlive its machine.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from steppe.errors import SteppeError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revision (only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER);
INSERT OR IGNORE INTO revision VALUES (1, 1);
"""


class DatabaseError(SteppeError):
    """The state file cannot be opened, read or written."""


class Database:
    """All contact with the file; used from one thread, by one server."""

    def __init__(self, path: Path) -> None:
        try:
            # Secrets are in it. SQLite gives its other files the permissions of this one.
            path.touch(mode=0o600)
            path.chmod(0o600)
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=OFF")
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise DatabaseError(f"cannot open {path}: {error}") from error

    def revision(self) -> int:
        row = self._connection.execute("SELECT value FROM revision").fetchone()
        return int(row[0])

    def objects(self) -> Iterator[tuple[str, bytes]]:
        yield from self._connection.execute("SELECT resource, body FROM objects")

    def put(self, resource: str, namespace: str, name: str, revision: int, body: bytes) -> None:
        self._write(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
            (resource, namespace, name, body),
            revision,
        )

    def delete(self, resource: str, namespace: str, name: str, revision: int) -> None:
        self._write(
            "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
            (resource, namespace, name),
            revision,
        )

    def _write(self, statement: str, values: tuple[str | bytes, ...], revision: int) -> None:
        try:
            self._connection.execute("BEGIN")
            self._connection.execute(statement, values)
            self._connection.execute("UPDATE revision SET value = ?", (revision,))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise DatabaseError(f"cannot write the state file: {error}") from error

    def close(self) -> None:
        self._connection.close()
