"""Answers on loopback how Services are served, where kube-proxy answers it.

    GET 127.0.0.1:10249/proxyMode   200 "nftables"        (the same on [::1])

kube-proxy answers this on its metrics address, and tests and support tools ask there (Kubernetes,
cmd/kube-proxy, `metricsBindAddress`). While another proxy of the node has the port, as when one
takes over from the other, it is tried again.
"""

import asyncio
import logging

from aiohttp import web

from steppe.agent.log import line
from steppe.agent.shares import PROXY_MODE
from steppe.serving.http import running
from steppe.serving.listener import Listener
from steppe.serving.sockets import tcp_sockets

log = logging.getLogger("steppe.agent")

MODE = "nftables"
LOOPBACK = ("127.0.0.1", "::1")
RETRY_SECONDS = 10.0


async def answer_mode(port: int) -> None:
    """Answer until cancelled. Nothing depends on it: what fails is one log line an address."""
    app = web.Application()
    app.add_routes([web.get("/proxyMode", _mode)])
    async with running(app, PROXY_MODE) as listener, asyncio.TaskGroup() as tasks:
        for address in LOOPBACK:
            tasks.create_task(_listen(listener, address, port))
        await asyncio.Event().wait()


async def _listen(listener: Listener, address: str, port: int) -> None:
    told = False
    while True:
        try:
            for each in await tcp_sockets(address, port):
                listener.open(each)
        except OSError as error:
            if not told:
                log.info(line("no-proxy-mode", address=address, port=port, error=error))
            told = True
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def _mode(_: web.Request) -> web.Response:
    return web.Response(text=MODE, headers={"X-Content-Type-Options": "nosniff"})
