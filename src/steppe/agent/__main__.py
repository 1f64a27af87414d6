"""`python -m steppe.agent`: one node's agent, until SIGTERM or SIGINT."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Sequence

from steppe.agent import log
from steppe.agent.daemon import Agent
from steppe.agent.kernel import opened
from steppe.agent.node.heap import share_heap
from steppe.agent.options import BUG, Options, parse
from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.errors import SteppeError
from steppe.log import set_up
from steppe.serving.sockets import raise_file_limit

GC_THRESHOLDS = (100_000, 5, 400)
"""Allocations between two garbage collections. A list of 10,000 Services becomes millions of
objects that stay; with Python's default each would be scanned dozens of times meanwhile."""


async def _run(options: Options) -> None:
    async with Client(load_config(options.kubeconfig), "steppe-agent") as client:
        with opened() as kernel:
            work = asyncio.ensure_future(Agent(options, client, kernel).run())
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, work.cancel)
            try:
                await work
            except asyncio.CancelledError:
                # The network stays as it is: an agent that ends removes nothing from the kernel.
                log.log.info(log.line("stopped"))


def exit_code(run: Callable[[], None]) -> int:
    """0 after a signal, 1 if the agent cannot start, 70 for a bug in the agent."""
    try:
        run()
    except (SteppeError, OSError) as error:
        # An error before any job runs: no credentials, or no permission to use the kernel.
        log.log.error(log.line("cannot-run", error=error))
        return 1
    except Exception:  # noqa: BLE001 - the outermost boundary: no supervisor expects it
        log.log.exception(log.line("bug", why="the agent ends for an error it does not expect"))
        return BUG
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent until a signal ends it; returns the exit code."""
    options = parse(arguments)
    set_up(options.log_level, names=False)
    gc.set_threshold(*GC_THRESHOLDS)
    share_heap()
    raise_file_limit()

    def run() -> None:
        options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        asyncio.run(_run(options))

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
