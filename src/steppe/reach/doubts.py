"""The doubts on which an answer about some ends hangs."""

from collections.abc import Iterable, Iterator

from steppe.kube.doubt import Doubt
from steppe.kube.objects import Pod
from steppe.kube.policies import Direction
from steppe.kube.services import Service
from steppe.reach.groups import Member
from steppe.reach.reach import Reach


def doubts_of(reach: Reach, ends: Iterable[Member], direction: Direction) -> Iterator[Doubt]:
    """The doubts about what policies say of these ends in one direction, and their addresses."""
    known = reach.judge.doubts
    for end in ends:
        if isinstance(end, Pod):
            yield from (*known.policies(end, direction), *known.address(end))


def service_doubts(reach: Reach, service: Service) -> Iterator[Doubt]:
    """The doubts about a Service's endpoints, and about what policies say of them."""
    yield from reach.judge.doubts.endpoints(service)
    for slice_ in reach.cluster.slices_of(service):
        ends = [reach.end_at(endpoint.address) for endpoint in slice_.endpoints]
        yield from doubts_of(reach, (end for end in ends if isinstance(end, Pod)), "ingress")
