"""The server as a process: restarts, stops, and how fast it answers."""

import asyncio
import signal
import statistics
import time
from pathlib import Path

import pytest

from tests.apiserver.cluster import Server
from tests.apiserver.contract.http import (
    WATCH_SECONDS,
    Http,
    config_map,
    connected,
    pod,
    service,
    take,
)

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


async def test_a_restart_keeps_objects_tokens_and_certificates(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    try:
        port = server.url.rsplit(":", 1)[1]
        before = server.kubeconfig.read_text()
        async with connected(server.kubeconfig) as http:
            made = await http.create(SERVICES, service("kept"))
            version = made["metadata"]["resourceVersion"]
        assert server.process is not None
        # Killed, not asked to stop: what was answered is on disk.
        server.stop(signal.SIGKILL)
        server.start("--port", port)
        assert server.kubeconfig.read_text() == before
        async with connected(server.kubeconfig) as http:
            kept = await http("GET", f"{SERVICES}/kept")
            assert kept == made
            expected = await take(http.events(MAPS, resourceVersion="1"), 1)
            assert (expected[0]["type"], expected[0]["object"]["code"]) == ("ERROR", 410)
            twin = service("twin", clusterIP=made["spec"]["clusterIP"])
            await http("POST", SERVICES, twin, expect=422)
            later = await http.create(MAPS, config_map("later"))
            assert int(later["metadata"]["resourceVersion"]) > int(version)
    finally:
        code = server.stop()
    assert code == 0, server.log()


async def test_a_stop_ends_open_watches_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    try:
        async with connected(server.kubeconfig) as http:
            events = http.events("/api/v1/namespaces")
            await take(events, 4)
            assert server.process is not None
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(WATCH_SECONDS):
                assert [event async for event in events] == []
                assert time.monotonic() - begin < 5
    finally:
        code = server.wait()
    assert code == 0, server.log()


@pytest.mark.slow
async def test_ten_thousand_pods_are_listed_and_events_arrive_in_time(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    try:
        async with connected(server.kubeconfig) as http:
            for index in range(10_000):
                await http.create(PODS, pod(f"p{index}", f"node-{index % 50}"))
            begin = time.perf_counter()
            listing = await http.session.get(http.url + PODS)
            body = await listing.read()
            listed = time.perf_counter() - begin
            assert body.count(b'"creationTimestamp"') == 10_000
            delays = await event_delays(http)
    finally:
        server.stop()
    p99 = statistics.quantiles(delays, n=100)[98]
    assert listed <= 1.0
    assert p99 <= 0.020


async def event_delays(http: Http) -> list[float]:
    """From sending a create to reading its watch event."""
    version = (await http("GET", MAPS))["metadata"]["resourceVersion"]
    events = http.events(MAPS, resourceVersion=version)
    delays = []
    for index in range(300):
        begin = time.perf_counter()
        waiting = asyncio.ensure_future(take(events, 1))
        await http.create(MAPS, config_map(f"delay-{index}"))
        await waiting
        delays.append(time.perf_counter() - begin)
    return delays
