"""After a large pass the garbage collector has less to look at."""

import gc

import pytest

from steppe.agent.node.heap import settle_heap


@pytest.mark.parametrize("grown", [False, True])
def test_only_what_has_come_to_stay_is_taken_from_the_garbage_collector(*, grown: bool) -> None:
    before = gc.get_freeze_count()
    try:
        settle_heap(grown=grown)
        assert (gc.get_freeze_count() > before) is grown
    finally:
        gc.unfreeze()
