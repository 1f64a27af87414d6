"""The demo applications: understood without a remark, and open for just the calls they make."""

from pathlib import Path

import pytest

from steppe import load

EXAMPLES = Path(__file__).parents[2] / "examples"

SHOP = {
    "load": {"frontend": 8080},
    "frontend": {
        "ad": 9555,
        "cart": 7070,
        "catalog": 3550,
        "checkout": 5050,
        "currency": 7000,
        "recommendation": 8080,
        "shipping": 50051,
    },
    "checkout": {
        "cart": 7070,
        "catalog": 3550,
        "currency": 7000,
        "email": 8080,
        "payment": 50051,
        "shipping": 50051,
    },
    "recommendation": {"catalog": 3550},
    "cart": {"cart-store": 6379},
}
"""Who calls whom, at which port of the pods."""

GUESTBOOK = {
    "frontend": {"redis-leader": 6379, "redis-follower": 6379},
    "redis-follower": {"redis-leader": 6379},
}


@pytest.mark.parametrize("folder", ["webshop", "guestbook"])
def test_an_example_is_understood_whole_and_nothing_in_it_is_idle(folder: str) -> None:
    network = load(EXAMPLES / folder)
    assert not network.loaded.problems
    assert not network.loaded.gaps
    assert not network.lint()


def test_the_shop_lets_its_own_calls_through_and_no_others() -> None:
    shop = load(EXAMPLES / "webshop")
    names = {name.rpartition("-")[0] for _, name in shop.cluster.pods}
    assert len(names) == 12
    for caller in names:
        for callee in names - {caller}:
            port = SHOP.get(caller, {}).get(callee)
            expected = f"TCP {port}" if port else "nothing"
            assert str(shop.ports(f"shop/{caller}", f"shop/{callee}")) == expected
    assert str(shop.ports("internet", "shop/frontend")) == "TCP 8080"
    assert str(shop.ports("internet", "shop/payment")) == "nothing"


def test_the_guestbooks_store_is_for_those_who_use_it() -> None:
    guestbook = load(EXAMPLES / "guestbook")
    for caller in ("frontend", "redis-leader", "redis-follower"):
        for callee in {"redis-leader", "redis-follower"} - {caller}:
            port = GUESTBOOK.get(caller, {}).get(callee)
            expected = f"TCP {port}" if port else "nothing"
            ends = (f"default/{caller}", f"default/{callee}")
            assert str(guestbook.ports(*ends)) == expected


@pytest.mark.parametrize(
    ("folder", "source", "destination", "kind", "words"),
    [
        ("webshop", "deploy/shop/frontend", "svc/shop/cart", "allowed", "any of its 2 endpoints"),
        ("webshop", "deploy/shop/ad", "svc/shop/payment", "denied", "NetworkPolicy shop/deny-all"),
        ("webshop", "internet", "svc/shop/frontend-external", "allowed", "reaches"),
        ("guestbook", "default/frontend-0", "svc/default/redis-leader", "allowed", "only endpoint"),
        ("guestbook", "deploy/default/redis-leader", "svc/default/redis-follower", "denied",
         "NetworkPolicy default/redis-follower"),
    ],
)  # fmt: skip
def test_explanations_read_right(
    folder: str, source: str, destination: str, kind: str, words: str
) -> None:
    said = load(EXAMPLES / folder).explain(source, destination)
    assert said.kind == kind
    assert words in said.verdict
