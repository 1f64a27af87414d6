"""Asking another server for names that are not the cluster's, if the lab was given one."""

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import msgspec
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from steppe_lab.dns.address import SocketAddress
from steppe_lab.dns.zone import Answer, Question


class Upstream(msgspec.Struct, frozen=True):
    """Servers to ask, in this order; from the machine's own namespace."""

    servers: tuple[SocketAddress, ...]
    seconds: float = 2.0
    """How long each of them may take."""

    async def complete(self, question: Question, answer: Answer) -> Answer:
        """The answer with what the name it leads to means elsewhere."""
        if answer.elsewhere is None:
            return answer
        reply = await self._ask(answer.elsewhere, question.type)
        if reply is None:
            return Answer(Rcode.SERVFAIL, authoritative=False)
        return Answer(
            reply.rcode(),
            authoritative=False,
            answer=(*answer.answer, *reply.answer),
            authority=tuple(reply.authority),
        )

    async def _ask(self, name: dns.name.Name, type_: RdataType) -> dns.message.Message | None:
        query = dns.message.make_query(name, type_, use_edns=0)
        for server in self.servers:
            try:
                reply, _ = await dns.asyncquery.udp_with_fallback(
                    query, str(server.address), timeout=self.seconds, port=server.port
                )
            except (OSError, dns.exception.DNSException):
                continue
            return reply
        return None
