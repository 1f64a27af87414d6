"""get and list.

A list is served at the newest version unless it asks for an exact one or continues an earlier
page: pages of one list all show the version of the first.
"""

import base64
from collections.abc import Iterator, Mapping
from itertools import islice

import msgspec

from steppe.admission.model import Json
from steppe_lab.apiserver.api import Api, Call, Reply
from steppe_lab.apiserver.selectors import Selection
from steppe_lab.apiserver.status import bad_request, expired, too_large_revision
from steppe_lab.apiserver.store import Key, Record
from steppe_lab.apiserver.views import Viewer


class Page(msgspec.Struct, frozen=True):
    """Where the next page starts: after this key, at this version."""

    rv: int
    after: Key

    def token(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()


def page_of(token: str) -> Page:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=Page)
    except (ValueError, msgspec.MsgspecError) as error:
        raise bad_request(f"continue key is not valid: {error}") from error


def viewer(api: Api, call: Call) -> Viewer:
    include = call.query.get("includeObject", "Metadata")
    return Viewer(call.target.kind, call.form, include, api.clock())


def get(api: Api, call: Call) -> Reply:
    target = call.target
    record = api.find(target.kind, target.namespace, target.name)
    return Reply(viewer(api, call).one(record), media_type=call.form.media_type)


def asked_revision(api: Api, call: Call) -> int:
    """The resourceVersion of the query, 0 if there is none; never one from the future."""
    revision = call.number("resourceVersion", least=0) or 0
    if revision > api.store.revision:
        raise too_large_revision(revision, api.store.revision)
    return revision


def selected(
    records: Mapping[Key, Record], selection: Selection, after: Key | None = None
) -> Iterator[Record]:
    """The matching records behind a key, in the order of their keys, as etcd would give them."""
    ordered = (records[key] for key in sorted(k for k in records if after is None or k > after))
    if selection.everything:
        return ordered
    return (record for record in ordered if selection.matches(record.object))


def list_(api: Api, call: Call) -> Reply:
    limit = call.number("limit", least=0) or 0
    selection = api.selection(call)
    revision, after = _place(api, call)
    collection = api.collection(call.target.kind)
    known = collection.at(revision)
    if known is None:
        raise expired(
            "The provided continue parameter or resourceVersion is too old to display a "
            "consistent list result. You can start a new list without it."
        )
    # "Servers older than v1.15 or with selectors do not set remainingItemCount.": so there nothing
    # is looked at that lies far behind the page.
    counted = not selection.filters
    matching = selected(known, selection, after)
    found = list(islice(matching, limit + 1) if limit and not counted else matching)
    metadata: Json = {"resourceVersion": str(revision)}
    if limit and len(found) > limit:
        metadata["continue"] = Page(revision, found[limit - 1].key).token()
        if counted:
            metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    return Reply(viewer(api, call).many(found, metadata), media_type=call.form.media_type)


def _place(api: Api, call: Call) -> tuple[int, Key | None]:
    """The version to list at, and the key to start behind."""
    token = call.query.get("continue", "")
    if token:
        page = page_of(token)
        return page.rv, page.after
    revision = asked_revision(api, call)
    if call.query.get("resourceVersionMatch") == "Exact":
        if not revision:
            raise bad_request("resourceVersionMatch Exact needs a resourceVersion other than 0")
        return revision, None
    return api.store.revision, None
