"""What every request handler works with: the call, the reply, and the state behind both."""

import datetime as dt
import re
from collections.abc import Callable, Mapping

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver import kinds
from steppe_lab.apiserver.behaviour import Behaviour
from steppe_lab.apiserver.kinds import Context, Kind
from steppe_lab.apiserver.negotiation import JSON, Form
from steppe_lab.apiserver.registry import Registry, storage_name
from steppe_lab.apiserver.routing import Target
from steppe_lab.apiserver.selectors import Selection, field_selector, label_selector
from steppe_lab.apiserver.status import bad_request, not_found
from steppe_lab.apiserver.store import Collection, Record, Store
from steppe_lab.apiserver.views import in_version

_NUMBER = re.compile(r"-?[0-9]{1,19}")
_MOST = (1 << 63) - 1


class Call(msgspec.Struct, frozen=True):
    """One authenticated request for a resource."""

    method: str
    target: Target
    query: Mapping[str, str]
    form: Form
    user: str = ""
    agent: str = ""
    content_type: str = ""
    body: bytes = b""

    @property
    def dry_run(self) -> bool:
        asked = self.query.get("dryRun", "")
        if asked not in ("", "All"):
            raise bad_request(f"invalid dryRun {asked!r}: must be All")
        return asked == "All"

    @property
    def field_manager(self) -> str:
        """Who owns the fields this call sets; by default the program's name."""
        return self.query.get("fieldManager") or self.agent.partition("/")[0] or "unknown"

    def flag(self, name: str) -> bool:
        return self.query.get(name, "") in ("1", "true", "True")

    def number(self, name: str, least: int = -_MOST) -> int | None:
        """The int64 of a query; a StatusError (400) for what is none, or less than it may be."""
        text = self.query.get(name, "")
        if not text:
            return None
        # int() would also take "1_000", blanks, and the digits of other scripts.
        if _NUMBER.fullmatch(text) is None or not least <= (number := int(text)) <= _MOST:
            raise bad_request(
                f"invalid {name} {text[:40]!r}: must be a number from {least} to {_MOST}"
            )
        return number


class Reply(msgspec.Struct, frozen=True):
    """A finished answer."""

    body: bytes
    code: int = 200
    media_type: str = JSON
    warnings: tuple[str, ...] = ()


class Api(msgspec.Struct, frozen=True):
    """The cluster's state and the rules it is changed by."""

    store: Store
    registry: Registry
    context: Context
    behaviours: dict[str, Behaviour]
    clock: Callable[[], dt.datetime]

    def collection(self, kind: Kind) -> Collection:
        return self.store.collection(storage_name(kind))

    def behaviour(self, kind: Kind) -> Behaviour:
        return self.behaviours.get(storage_name(kind)) or _PLAIN

    def find(self, kind: Kind, namespace: str, name: str) -> Record:
        record = self.collection(kind).records.get((namespace, name))
        if record is None:
            raise not_found(kind, name)
        return in_version(kind, record)

    def now(self) -> str:
        return timestamp(self.clock())

    def selection(self, call: Call) -> Selection:
        """What the call's path and selectors ask for."""
        target = call.target
        fields = field_selector(call.query.get("fieldSelector", ""))
        blank: Json = {"metadata": {"name": "", "namespace": ""}}
        known = kinds.selectable_fields(target.kind, blank) if fields.requirements else {}
        for requirement in fields.requirements:
            if requirement.key not in known:
                raise bad_request(
                    f"field label not supported for {target.kind.kind}: {requirement.key}"
                )
        return Selection(
            namespace=target.namespace,
            name=target.name,
            labels=label_selector(call.query.get("labelSelector", "")),
            fields=fields,
            field_values=lambda obj: kinds.selectable_fields(target.kind, obj),
        )


_PLAIN = Behaviour()


def timestamp(moment: dt.datetime) -> str:
    """metav1.Time: RFC 3339, UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
