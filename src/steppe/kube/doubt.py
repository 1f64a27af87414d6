"""What the objects at hand do not tell, and which flows' answers depend on it.

A cluster read from manifests may lack things that decide: a policy that cannot be read, the pods
that a custom resource makes, the addresses that pods will get. Whoever reads the objects adds a
Doubt to the cluster for each (Cluster.doubts); whoever judges flows answers "unknown" where a doubt
may turn the answer. A flow that is decided whatever the doubt comes to is judged as usual.
"""

import msgspec

from steppe.kube.cause import Cause
from steppe.kube.policies import Direction, Pods


class PoliciesInDoubt(msgspec.Struct, frozen=True):
    """It is not known what policies say of these pods in these directions (a policy that selects
    them, or may, cannot be read): they may be isolated or not, and let anybody through or nobody.
    """

    pods: Pods
    directions: tuple[Direction, ...] = ("ingress", "egress")


class EndpointsInDoubt(msgspec.Struct, frozen=True):
    """It is not known which endpoints a Service has, beside those that its slices list: pods of
    kinds that cannot be read may be among them. The Service does exist.
    """

    namespace: str
    service: str


class AddressInDoubt(msgspec.Struct, frozen=True):
    """A pod's address is invented: an ipBlock may hold its real one or not, unless the block has
    every address of a family.
    """

    namespace: str
    pod: str


About = PoliciesInDoubt | EndpointsInDoubt | AddressInDoubt


class Doubt(msgspec.Struct, frozen=True):
    """Something not known: the object that it hangs on, and a sentence with the cure.

    The sentence begins in lower case, without the object's name and without a full stop, like a
    Problem's: "cannot be read (spec.ingress is no list), so it may close or open these pods".
    """

    cause: Cause
    text: str
    about: About

    def __str__(self) -> str:
        return f"{self.cause}: {self.text}"
