"""The Kubernetes API from the LAN's network namespace, by curl: this process is not in it."""

import json
from pathlib import Path
from typing import Any

from tests.kubernetes.harness import lan
from tests.kubernetes.harness.settings import API

_PATCH = "Content-Type: application/merge-patch+json"


class Api:
    """`credentials`: curl's flags for the authority and who asks."""

    def __init__(self, *credentials: str | Path) -> None:
        self._credentials = credentials

    def get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path)

    def post(self, path: str, item: dict[str, Any]) -> dict[str, Any]:
        return self._ask("POST", path, "Content-Type: application/json", item)

    def patch(self, path: str, change: dict[str, Any]) -> dict[str, Any]:
        """A merge patch (RFC 7396)."""
        return self._ask("PATCH", path, _PATCH, change)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def ready(self) -> bool:
        url = f"{API}/readyz"
        return lan.inside("curl", "--silent", *self._credentials, url, check=False) == "ok"

    def _ask(
        self, verb: str, path: str, header: str = "", body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        sent = ("--header", header, "--data", json.dumps(body)) if body is not None else ()
        flags = ("--silent", "--show-error", "--fail-with-body", "--max-time", "30")
        said = lan.inside("curl", *flags, "--request", verb, *self._credentials, *sent, API + path)
        answer: dict[str, Any] = json.loads(said)
        return answer
