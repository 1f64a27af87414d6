"""A packet at a node, in the middle of a walk."""

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from steppe.kube.cause import Cause
from steppe.net.address import IPAddress
from steppe.net.packet import Packet
from steppe.walk.nft import State
from steppe.walk.routing import Asked
from steppe.walk.trace import End, EndKind, Translation

Undo = Mapping[tuple[str, Packet], Translation]
"""By node and the reply as it arrives there: the first translation of the request on that node."""


class Here(msgspec.Struct, frozen=True):
    """The packet at a node: the node, the packet's current fields, and its translations so far.

    `end` is set once the packet stops; `undo` is set for replies only.
    """

    node: str
    state: State
    translated: tuple[Translation, ...] = ()
    undo: Undo = {}
    end: End | None = None

    @property
    def source(self) -> IPAddress:
        return self.state.packet.source

    @property
    def destination(self) -> IPAddress:
        return self.state.packet.destination

    def becoming(self, state: State, because: tuple[Cause, ...] = ()) -> "Here":
        """The packet after one step; a translation is recorded for the replies."""
        translated = self.translated
        if state.packet != self.state.packet and not state.established:
            done = Translation(self.node, self.state.packet, state.packet, because)
            translated = (*translated, done)
        return msgspec.structs.replace(self, state=state, translated=translated)

    def sharing(self, part: Fraction) -> "Here":
        """The packet with its share multiplied by this fraction."""
        state = msgspec.structs.replace(self.state, share=self.state.share * part)
        return msgspec.structs.replace(self, state=state)

    def ending(self, kind: EndKind, reason: str = "", target: str = "") -> "Here":
        """The packet with an end: it stops here."""
        return msgspec.structs.replace(self, end=End(kind, target, self.source, reason))

    def arriving(self, node: str, link: str = "") -> "Here":
        """The packet as another node receives it, by a link of Steppe's or by the underlay.

        Marks are local to a node.
        """
        known, share = self.state.established, self.state.share
        state = State(self.state.packet, link, established=known, share=share)
        return msgspec.structs.replace(self, node=node, state=state)

    def asked(self, iif: str) -> Asked:
        """What a look-up of its route depends on, as it came by this link."""
        packet = self.state.packet
        return Asked(
            self.state.came or packet.source,
            packet.destination,
            iif,
            packet.protocol,
            packet.source_port,
            packet.destination_port,
            self.state.mark,
        )
