"""The owners of claim sets: an object of the API, or a part of what is compiled from several
objects.

A claim set is replaced as a whole, by its owner. Two owners are equal only if they have the same
type and equal fields.
"""

import msgspec

from steppe.kube.cause import ObjectRef
from steppe.kube.policies import Direction


class LinkOwner(msgspec.Struct, frozen=True, gc=False):
    """The pod behind a link of this node: the link itself, its addresses and routes."""

    link: str


class GuardOwner(msgspec.Struct, frozen=True, gc=False):
    """What the policies of one direction claim for the pod behind a link, for every peer."""

    direction: Direction
    link: str


class RulingOwner(msgspec.Struct, frozen=True, gc=False):
    """What the pod behind a link may receive from or send to peers with an identity's number."""

    direction: Direction
    link: str
    number: int


class PeerOwner(msgspec.Struct, frozen=True, gc=False):
    """The identity of a pod or node as a peer."""

    direction: Direction
    peer: ObjectRef


class PrefixesOwner(msgspec.Struct, frozen=True, gc=False):
    """The identities of prefixes (`ipBlock`) as peers: of some of them, for there may be 20,000."""

    direction: Direction
    part: int


class NumberOwner(msgspec.Struct, frozen=True, gc=False):
    """An identity's number: the Problem of two identities that would have the same."""

    direction: Direction
    number: int


class CrowdedOwner(msgspec.Struct, frozen=True, gc=False):
    """The Problem of a policy that is closed for want of room."""

    policy: ObjectRef


Owner = (
    ObjectRef
    | CrowdedOwner
    | LinkOwner
    | GuardOwner
    | RulingOwner
    | PeerOwner
    | PrefixesOwner
    | NumberOwner
)
