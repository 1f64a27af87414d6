"""The measuring instruments themselves."""

import asyncio
import json
import subprocess
import sys

import pytest
from bench.__main__ import BENCHMARKS, in_own_process, measured
from bench.cpu import idle_since, spent, spent_in_all
from bench.model import BenchError, Benchmark, Result, Target, percentile
from bench.report import document, machine, table
from bench.route_monitor import RouteMonitor
from bench.solo import node_object, pod_prefixes

from bench import peer
from steppe_lab import netns

AT_LEAST = Target("ratio", 0.85)
AT_MOST = Target("time", 20.0, "ms", at_most=True)


@pytest.mark.parametrize(
    ("target", "value", "ok"),
    [
        (AT_LEAST, 0.85, True),
        (AT_LEAST, 0.84, False),
        (AT_MOST, 20.0, True),
        (AT_MOST, 20.1, False),
    ],
)
def test_a_target_is_met_or_missed(target: Target, value: float, ok: bool):
    result = Result(target, value)
    assert result.ok is ok
    assert ("MISSED" in table([result])) is not ok
    (row,) = json.loads(document([result], machine()))["results"]
    assert row["ok"] is ok
    assert row["measured"] == value


def test_a_benchmark_that_breaks_off_leaves_its_other_targets_missed():
    def measure(say):
        say("begun")
        yield Result(AT_LEAST, 1.0)
        raise BenchError("the lab did not come up")

    said: list[str] = []
    first, second = measured(Benchmark((AT_LEAST, AT_MOST), measure), said.append)
    assert first.ok
    assert not second.ok
    assert str(second) == "not measured"
    assert "the lab did not come up" in said[-1]


def test_a_benchmark_has_a_process_of_its_own_and_what_that_leaves_out_is_missed():
    says = """print("a command said this"); print('{"target":1,"value":3.5,"details":{"n":2}}')"""
    argv = (sys.executable, "-c", f"{says}; raise SystemExit(3)")
    told, missed = in_own_process((AT_LEAST, AT_MOST), argv)
    assert told == Result(AT_MOST, 3.5, {"n": 2})
    assert missed == Result(AT_LEAST, None, {"error": "its process ended with 3"})


def test_a_process_is_idle_from_when_it_stops_working():
    work = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    argv = (sys.executable, "-c", f"{work}print(time.monotonic(), flush=True); time.sleep(60)")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            since = idle_since(process.pid, 60, lambda: True)
            assert abs(since - float(process.stdout.readline())) < 0.5
            assert 0.3 <= spent(process.pid) <= spent_in_all(process.pid) + 0.05
        finally:
            process.kill()


def test_a_process_that_rests_before_it_is_done_is_waited_for():
    argv = (sys.executable, "-c", "import time; time.sleep(60)")
    with subprocess.Popen(argv) as process:
        try:
            with pytest.raises(BenchError, match="not idle"):
                idle_since(process.pid, 1.5, lambda: False)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([1.0], 0.99, 1.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 201)], 0.99, 198.0),
        ([1.0, 2.0], 0.99, 2.0),
    ],
)
def test_percentiles_are_values_that_were_measured(values, share, expected):
    assert percentile(values, share) == expected


def test_every_target_is_told_of_once():
    names = [t.what for benchmark in BENCHMARKS.values() for t in benchmark.targets]
    assert len(set(names)) == len(names) > 0


def test_no_two_nodes_share_a_prefix_or_an_address():
    numbers = range(5200)
    prefixes = {prefix for number in numbers for prefix in pod_prefixes(number)}
    addresses = {
        entry["address"]
        for number in numbers
        for entry in node_object(number)["status"]["addresses"]
    }
    assert len(prefixes) == 2 * len(numbers)
    assert len(addresses) == 3 * len(numbers)


def test_the_peer_answers_as_often_as_it_is_asked():
    serve = (sys.executable, "-I", "-S", peer.__file__, "serve")
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        port = server.stdout.readline().strip()
        call = (sys.executable, "-I", "-S", peer.__file__, "call", "127.0.0.1", port, "0.1")
        asked = subprocess.run(call, capture_output=True, text=True, check=True)
        assert float(asked.stdout) > 10
        assert server.wait(timeout=5) == 0


@pytest.fixture
def namespace():
    name = "st-benchtest-node-a"
    netns.create((name,))
    yield name
    netns.delete(name)


@pytest.mark.kernel
def test_the_monitor_sees_routes_of_both_families_and_nothing_else(namespace: str):
    """Also many at a time: an agent's first pass must not overrun it."""
    numbers = range(300)
    wanted = [prefix for number in numbers for prefix in pod_prefixes(number)]
    batch = "link set lo up\n" + "".join(f"route add {prefix} dev lo\n" for prefix in wanted)

    async def watch() -> tuple[RouteMonitor, list[float | None]]:
        monitor = RouteMonitor()
        monitor.start()
        try:
            await asyncio.to_thread(
                subprocess.run,
                ("ip", "-n", namespace, "-batch", "-"),
                input=batch,
                text=True,
                check=True,
            )
            while None in [monitor.when(prefix) for prefix in wanted]:
                assert await monitor.wait_for_change(5)
            return monitor, [monitor.when(prefix) for prefix in wanted]
        finally:
            monitor.close()

    monitor, times = netns.inside(namespace, lambda: asyncio.run(watch()))
    assert times == sorted(times, key=float)
    assert monitor.when(pod_prefixes(300)[0]) is None
