"""`python -m steppe.agent`: how it ends, and with which exit code."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from steppe.agent import __main__ as program
from steppe.agent.health.metrics import Metrics, serve
from steppe.agent.options import parse
from steppe.errors import SteppeError
from tests.waiting import until_async


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, users: [{name: u, user: {}}],"
        " clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}],"
        " contexts: [{name: c, context: {cluster: k, user: u}}]}"
    )
    return path


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The agent's kernel is not opened; what happened instead."""
    happened: list[str] = []

    @contextlib.contextmanager
    def opened() -> Iterator[None]:
        happened.append("opened")
        try:
            yield
        finally:
            happened.append("closed")

    class Agent:
        def __init__(self, *_: object) -> None:
            happened.append("wired")

        async def run(self) -> None:
            happened.append("runs")
            await asyncio.Event().wait()

    monkeypatch.setattr(program, "opened", opened)
    monkeypatch.setattr(program, "Agent", Agent)
    return happened


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_agent_and_closes_what_it_has_open(
    number: signal.Signals,
    kubeconfig: Path,
    no_kernel: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "steppe")

    async def runs() -> bool:
        return "runs" in no_kernel

    options = parse(["--node", "node-a", "--kubeconfig", str(kubeconfig)])
    running = asyncio.ensure_future(program._run(options))
    await until_async(runs, 5, "the agent runs")
    os.kill(os.getpid(), number)
    async with asyncio.timeout(10):
        await running
    assert no_kernel == ["opened", "wired", "runs", "closed"]
    assert "stopped" in caplog.messages
    asyncio.get_running_loop().remove_signal_handler(number)


def test_an_agent_without_credentials_says_so_and_leaves_the_kernel_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_kernel: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(program, "set_up", lambda *_, **__: None)
    thresholds = gc.get_threshold()
    state = tmp_path / "state"
    try:
        code = program.main(
            [
                *("--node", "node-a", "--state-dir", str(state)),
                *("--kubeconfig", str(tmp_path / "none")),
            ]
        )
        assert gc.get_threshold() == program.GC_THRESHOLDS
    finally:
        gc.set_threshold(*thresholds)
    assert code == 1
    assert no_kernel == []
    (told,) = caplog.messages
    assert told.startswith("cannot-run error=")
    assert str(tmp_path / "none") in told
    assert state.stat().st_mode & 0o777 == 0o700


async def test_metrics_and_health_are_answered_and_readiness_says_why_not(
    unused_tcp_port: int,
) -> None:
    metrics, why = Metrics(), [""]
    metrics.repairs.labels("routes").inc()
    job = asyncio.ensure_future(serve(f"127.0.0.1:{unused_tcp_port}", metrics, lambda: why[0]))

    async def asked(path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{unused_tcp_port}/{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def answers() -> bool:
        with contextlib.suppress(aiohttp.ClientConnectorError):
            return (await asked("healthz")) == (200, "ok\n")
        return False

    await until_async(answers, 5, "it listens")
    assert await asked("readyz") == (200, "ok\n")
    why[0] = "the kernel is being read"
    assert await asked("readyz") == (503, "the kernel is being read\n")
    assert (await asked("healthz"))[0] == 200
    status, text = await asked("metrics")
    assert status == 200
    assert 'steppe_repairs_total{table="routes"} 1.0' in text
    job.cancel()


@pytest.mark.parametrize("listen", ["127.0.0.1:none", "192.0.2.1:1"])
async def test_an_address_that_cannot_be_listened_on_is_named_with_its_flag(listen: str) -> None:
    with pytest.raises(SteppeError, match=f"cannot listen on {listen} .--metrics-listen"):
        async with asyncio.timeout(10):
            await serve(listen, Metrics(), lambda: "")
