"""Label and field selectors against a table of labels."""

import pytest

from steppe_lab.apiserver.selectors import Selection, field_selector, label_selector
from steppe_lab.apiserver.status import StatusError

LABELS = {"app": "web", "tier": "front", "size": "5"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app=web,tier=back", False),
        ("app!=web", False),
        ("other!=web", True),
        ("app", True),
        ("!app", False),
        ("!other", True),
        ("app in (db, web)", True),
        ("app notin (db,web)", False),
        ("other notin (db)", True),
        ("size>4", True),
        ("size<5", False),
        ("app in (db,web),!gone,tier=front", True),
    ],
)
def test_label_selectors(text: str, matches: bool) -> None:
    selection = Selection(labels=label_selector(text))
    assert selection.matches({"metadata": {"name": "x", "labels": LABELS}}) is matches


@pytest.mark.parametrize("text", ["app in web", "a=b=c", "app=(x)", "==", "a b"])
def test_nonsense_is_a_bad_request(text: str) -> None:
    with pytest.raises(StatusError, match="unable to parse"):
        label_selector(text)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("spec.nodeName=node-a", True),
        ("spec.nodeName!=node-a", False),
        ("spec.nodeName=", False),
        ("metadata.name==x,spec.nodeName=node-a", True),
    ],
)
def test_field_selectors(text: str, matches: bool) -> None:
    values = {"metadata.name": "x", "spec.nodeName": "node-a"}
    selection = Selection(fields=field_selector(text), field_values=lambda _: values)
    assert selection.matches({"metadata": {"name": "x"}}) is matches
