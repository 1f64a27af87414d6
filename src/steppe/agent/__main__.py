"""`python -m steppe.agent`: one node's agent, until SIGTERM or SIGINT."""

import asyncio
import gc
import signal
import sys
from collections.abc import Sequence

from steppe.agent import log
from steppe.agent.daemon import Agent
from steppe.agent.options import Options, parse
from steppe.client.client import Client
from steppe.client.config import load_config
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.drivers.kernel import KernelDriver
from steppe.drivers.nftables.driver import Nft
from steppe.errors import SteppeError

GC_THRESHOLDS = (100_000, 20, 100)
"""A list of 10,000 Services becomes millions of objects that stay; Python's own thresholds would
have each of them looked at dozens of times on the way."""


async def _run(options: Options) -> None:
    async with Client(load_config(options.kubeconfig), "steppe-agent") as client:
        with KernelDriver(more=(Nft(SKELETON),)) as kernel:
            work = asyncio.ensure_future(Agent(options, client, kernel).run())
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, work.cancel)
            try:
                await work
            except asyncio.CancelledError:
                # The network stays as it is: an agent that goes takes nothing with it.
                log.log.info(log.line("stopped"))


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after a signal; 1 when the agent cannot work, with the reason on standard error."""
    options = parse(arguments)
    log.set_up(options.log_level)
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        asyncio.run(_run(options))
    except (SteppeError, OSError) as error:
        log.log.error(log.line("cannot-run", error=error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
