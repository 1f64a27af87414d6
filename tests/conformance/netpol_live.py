"""Cases in a lab: each step's cluster is brought about there, and its matrix probed.

One lab serves all cases that fit into it. A case that insists on its addresses fits where its pods
have those; the agent gives them in turn, so they are taken when a lab is new.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from steppe.client.errors import ApiError
from steppe.errors import SteppeError
from tests.conformance.netpol_cases import (
    Case,
    CreatePod,
    Node,
    NotUnderstood,
    Pod,
    Probe,
    ValidationCase,
)
from tests.conformance.netpol_lab import LiveLab, prefixes_of
from tests.conformance.netpol_probe import Dial, Outcome, Place
from tests.conformance.netpol_sync import POLICIES, Rejected, Sync, written_as
from tests.conformance.netpol_world import State, Trial, key_of

AnyCase = Case | ValidationCase


Places = dict[str, dict[int, Place]]
"""Where everything of a case is in the lab, by name and IP version."""
Report = Callable[[AnyCase, list[str]], None]


async def run(cases: Sequence[AnyCase], lab_name: str, report: Report) -> None:
    """Report of each case what is wrong, a line each."""
    left = list(cases)
    while left:
        plan = _Plan(left)
        async with LiveLab(lab_name, plan.nodes, plan.prefixes) as lab:
            stage = Stage(lab, plan)
            await stage.open()
            while left and stage.takes(left[0]):
                case = left.pop(0)
                report(case, await stage.failures(case))


class _Plan:
    """What a lab has to have for as many of the coming cases as go together."""

    def __init__(self, cases: Iterable[AnyCase]) -> None:
        reach = [case for case in cases if isinstance(case, Case)]
        self.fixed: dict[str, Pod] = {}
        self.nodes = _nodes_of(reach)
        for case in reach:
            if case.requires_fixed_ips:
                self._add(case)
        pods = self.fixed.values() or (_all_pods(reach[0]) if reach else ())
        self.prefixes = prefixes_of(pods)
        for number, node in enumerate(self.nodes, 1):
            self.prefixes.setdefault(
                node.name, [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"]
            )

    def _add(self, case: Case) -> None:
        wanted = {pod.full_name: pod for pod in _all_pods(case) if not pod.host_network}
        owners = {address: pod.full_name for pod in self.fixed.values() for address in pod.ips}
        together = [*self.fixed.values(), *wanted.values()]
        if all(
            owners.get(address, name) == name and _place(self.fixed.get(name, pod)) == _place(pod)
            for name, pod in wanted.items()
            for address in pod.ips
        ) and all(len(found) <= 2 for found in prefixes_of(together).values()):
            self.fixed |= wanted


class _Try(msgspec.Struct, frozen=True):
    """A dial, and how it is called in a line about it."""

    dial: Dial
    text: str


class Stage:
    """A lab, and what the cases have made of it."""

    def __init__(self, lab: LiveLab, plan: _Plan) -> None:
        self._lab = lab
        self._plan = plan
        self._sync = Sync(lab)

    async def open(self) -> None:
        await self._sync.seat_fixed(self._plan.fixed.values())

    def takes(self, case: AnyCase) -> bool:
        if not isinstance(case, Case):
            return True
        known = {node.name for node in self._plan.nodes}
        return {node.name for node in case.setup.nodes} <= known and all(
            _place(self._plan.fixed.get(pod.full_name, pod)) == _place(pod)
            and (pod.full_name in self._plan.fixed or pod.host_network)
            for pod in (_all_pods(case) if case.requires_fixed_ips else ())
        )

    async def failures(self, case: AnyCase) -> list[str]:
        try:
            if isinstance(case, ValidationCase):
                return await self._validation_failures(case)
            return await self._reach_failures(case)
        except (SteppeError, AssertionError, OSError) as error:
            return [f"{case.id}: {error} (live)"]

    async def _validation_failures(self, case: ValidationCase) -> list[str]:
        """Created and deleted again."""
        kind, namespace, name = key_of(case.manifest)
        if kind not in POLICIES:
            raise NotUnderstood(f"{case.id}: a manifest of kind {kind!r}")
        if namespace:
            await self._sync.have_namespace(namespace)
        try:
            await self._lab.client.create(written_as(case.manifest), case.manifest, namespace)
        except ApiError as error:
            if error.status != 422 or case.expect == "accept":
                return [f"{case.id}: expected {case.expect}, got {error} (live)"]
            return []
        await self._lab.client.delete(POLICIES[kind], name, namespace)
        return [] if case.expect == "accept" else [f"{case.id}: expected reject, got accept (live)"]

    async def _reach_failures(self, case: Case) -> list[str]:
        state = State(case.setup)
        for number, step in enumerate(case.steps, 1):
            for action in step.actions:
                state.do(action)
            try:
                await self._sync.bring(state, with_services=case.via_service)
            except Rejected as error:
                return [] if case.api_server_rejects else [f"{case.id} step {number}: {error}"]
            wrong = [
                f"{case.id} step {number} {text} (live)"
                for text in self._mismatches(state, step.probes, case)
            ]
            if wrong:
                return wrong
        return []

    # Probing

    def _mismatches(self, state: State, probes: Sequence[Probe], case: Case) -> Iterator[str]:
        places = self._places(state)
        self._serve(state, places)
        tries = [
            one
            for probe in probes
            for trial in state.trials(probe)
            for one in self._tries(trial, probe, places, via_service=case.via_service)
        ]
        outcomes = self._dialled([one.dial for one in tries])
        for one, outcome in zip(tries, outcomes, strict=True):
            expected = _expected(one.dial.allowed, drop=case.deny_mode == "drop")
            if outcome not in expected:
                word = "allow" if one.dial.allowed else "deny"
                yield f"{one.text}: expected {word}, got {outcome}"

    def _tries(
        self, trial: Trial, probe: Probe, places: Places, *, via_service: bool
    ) -> Iterator[_Try]:
        """The pod's own address dialled, and where the case allows that its Service's as well."""
        version, to = trial.source_address.version, trial.destination
        source, destination = places[trial.source][version], places[to][version]
        text = f"{trial.source} > {to} {probe.protocol} {trial.port} IPv{version}"
        dial = Dial(source, destination.address, trial.port, probe.protocol, trial.allowed)
        yield _Try(dial, text)
        cluster_ip = self._sync.cluster_ips(to).get(version)
        if via_service and cluster_ip and not trial.source.startswith("ext/"):
            yield _Try(msgspec.structs.replace(dial, address=cluster_ip), f"{text} via Service")

    def _serve(self, state: State, places: Places) -> None:
        pods = {pod.full_name: pod.ports for pod in state.pods}
        externals = {f"ext/{external.name}": external.ports for external in state.externals}
        for name, ports in (pods | externals).items():
            for port in ports:
                for place in places[name].values():
                    self._lab.prober.serve(place, port.protocol, port.port)

    def _dialled(self, dials: Sequence[Dial]) -> list[Outcome]:
        """What came of each; what did not get through but should is tried once more.

        A packet may be lost on a busy machine. One that should not get through never may, not once.
        """
        dial = self._lab.prober.dial
        outcomes = dial(dials)
        lost = [i for i, one in enumerate(dials) if one.allowed and outcomes[i] != "connected"]
        for index, outcome in zip(lost, dial([dials[i] for i in lost]), strict=True):
            outcomes[index] = outcome
        return outcomes

    def _places(self, state: State) -> Places:
        found = {
            name: [Place(seat.netns, address) for address in seat.addresses]
            for name, seat in self._lab.seats.items()
        }
        for node in state.nodes:
            config = self._lab.node(node.name)
            found[f"node/{node.name}"] = [Place(config.netns, a) for a in config.addresses]
        for external in state.externals:
            found[f"ext/{external.name}"] = [*self._lab.add_external(external)]
        return {
            name: {6 if ":" in place.address else 4: place for place in places}
            for name, places in found.items()
        }


def _expected(allowed: bool, *, drop: bool) -> tuple[Outcome, ...]:
    """ "`denyMode`: `any` = refused and timed out both count as denied; `drop` = must time out" """
    if allowed:
        return ("connected",)
    return ("timed out",) if drop else ("timed out", "refused")


def _all_pods(case: Case) -> list[Pod]:
    actions = [action for step in case.steps for action in step.actions]
    return [*case.setup.pods, *(a.pod for a in actions if isinstance(a, CreatePod))]


def _place(pod: Pod) -> tuple[str, list[str]]:
    return pod.node, pod.ips


def _nodes_of(cases: Iterable[Case]) -> list[Node]:
    found: dict[str, Node] = {}
    for case in cases:
        for node in case.setup.nodes:
            found.setdefault(node.name, node)
    return [*found.values()] or [Node("n1", {}, [])]
