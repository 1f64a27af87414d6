"""`steppe explain`: one flow's path, step by step, and why it arrives or does not."""

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from steppe.cli.refused import unknown_end
from steppe.cli.settings import disagreement, settings_of
from steppe.cli.source import BadInput, Source, claim_options, lab_record, load, options
from steppe.errors import SteppeError
from steppe.manifests.api_service import with_api_service
from steppe.net.address import parse_address

if TYPE_CHECKING:
    from steppe.cli.agents import Agent
    from steppe.cli.explain_actual import Kernels
    from steppe.explain.explain import Explainer
    from steppe.explain.model import Explanation
    from steppe.manifests.cluster import Loaded
    from steppe.settings import Settings

FORMATS = ("text", "json", "yaml", "html", "dot")
"""Those of cli/explain_output.py, which is imported late."""
_EPILOG = """Examples:

\b
  steppe explain shop/web-1 svc/shop/db --port 5432
  steppe explain -n shop web http://db:5432
  steppe explain -f manifests/ internet svc/shop/web
  steppe explain --kubeconfig ~/.kube/config shop/web-1 203.0.113.9:443 -o json
  steppe explain shop/web-1 svc/shop/db -o dot | dot -Tsvg > way.svg
  steppe explain shop/job svc/shop/db --fix | kubectl apply -f -
"""


@click.command(epilog=_EPILOG)
@click.argument("src")
@click.argument("dst")
@click.option(
    "-n", "--namespace", default="", metavar="NAME", help="What short names are relative to."
)
@click.option("--port", default="", metavar="PORT", help="Number or name; default: the only one.")
@click.option(
    "--protocol",
    type=click.Choice(("tcp", "udp", "sctp", "icmp"), case_sensitive=False),
    help="Default: the port's own, or tcp.",
)
@click.option("--family", type=click.Choice(("ipv4", "ipv6")), help="Default: both.")
@click.option("--claiming", default="", metavar="ADDRESS", help="A source address that SRC forges.")
@click.option("--actual", is_flag=True, help="By what the kernels hold, not what they should.")
@click.option("-o", "--output", type=click.Choice(FORMATS), default="text")
@click.option("--plain", is_flag=True, help="No colours.")
@click.option("--fix", is_flag=True, help="Print the change that lets in least, for kubectl apply.")
@claim_options
@options
def explain(src: str, dst: str, source: Source, **asked: Any) -> None:
    """Tell whether SRC reaches DST, by which way, and why: each step with its object.

    SRC and DST: shop/web (a pod or its workload), deploy/shop/web, node/NAME, an address, a CIDR or
    internet; DST also svc/shop/db[:PORT], or a DNS name or URL of a Service or pod.

    On a cluster that runs Steppe the path is that of its tables, held against what Kubernetes
    promises. On any other, and on manifests, it is what Kubernetes promises; such steps have a ~.

    --actual also looks at what else is on the nodes: others' routes, rules, packet rules, settings.

    Exit code: 0 it reaches it, 1 it does not, or only partly, or (--actual) something that is not
    Steppe's may stop it, 2 bad usage or input, or what is known does not decide it.
    """
    loaded = with_api_service(load(source), (dst,))
    said = _explained(loaded, source, src, dst, asked)
    if asked["fix"]:
        click.echo(_fix(loaded, said), nl=False)
    else:
        from steppe.cli.explain_output import show

        show(loaded, said, asked["output"], plain=asked["plain"])
    sys.exit({"allowed": 0, "unknown": 2}.get(said.kind, 1))


def _explained(
    loaded: "Loaded", source: Source, src: str, dst: str, asked: dict[str, Any]
) -> "Explanation":
    from steppe.explain.host_ports import host_port_notes

    settings = settings_of(loaded, source)
    kernels = kernels_of(loaded, settings, source) if asked["actual"] else None
    explainer = explainer_for(loaded, settings, kernels)
    protocol: Any = asked["protocol"] and asked["protocol"].upper()
    family = asked["family"] and int(asked["family"][-1])
    try:
        flow, notes = explainer.flow(
            src, dst, asked["port"], protocol, namespace=asked["namespace"]
        )
        claimed = parse_address(asked["claiming"]) if asked["claiming"] else None
        said = explainer.explain(flow, family, claimed=claimed)
    except (SteppeError, ValueError) as error:
        raise unknown_end(loaded, error, src, dst) from error
    said = kernels.marked(said) if kernels is not None else said
    ports = host_port_notes(loaded.objects, flow)
    notes = (*notes, *ports, *said.notes, *_of_settings(loaded, settings), *_notes(loaded, said))
    return msgspec.structs.replace(said, notes=notes)


def explainer_for(
    loaded: "Loaded", settings: "Settings | None", kernels: "Kernels | None"
) -> "Explainer":
    """By the kernels' tables, or those that agents with these settings make; None: by neither."""
    # Imported late: other commands do not need it, nor do explanations without tables.
    from steppe.explain.explain import Explainer

    if settings is None:
        return Explainer(loaded.cluster, settings=loaded.settings)
    from steppe.explain.tables import explainer_of

    return explainer_of(loaded.cluster, settings, kernels.in_tables if kernels else None)


def _of_settings(loaded: "Loaded", settings: "Settings | None") -> list[str]:
    """Notes on which settings the explanation is based on."""
    if settings is None:
        return []
    notes = []
    if not settings.policies:
        notes.append("policies are not enforced: the agents run with --policies off.")
    if not settings.services:
        notes.append(
            "Services are another proxy's: the agents run with --services off, and what is said "
            "of the way is what Kubernetes promises."
        )
    differs = disagreement(loaded, settings)
    return [*notes, differs] if differs else notes


def _fix(loaded: "Loaded", said: "Explanation") -> str:
    """The first change that edits policies only, as YAML with a comment."""
    if said.kind == "allowed":
        return f"# {said.verdict} Nothing has to change.\n"
    import yaml

    from steppe.explain.fix import changed_objects, to_apply

    for change in said.changes:
        if all(patch.object.kind.endswith("NetworkPolicy") for patch in change.patches):
            made = map(to_apply, changed_objects(loaded.objects, change).values())
            comment = f"# {said.verdict}\n# This opens it: {change.text}\n"
            return comment + yaml.safe_dump_all(made, sort_keys=False)
    raise BadInput(f"{said.verdict} No change of policies alone is known to open it")


def kernels_of(loaded: "Loaded", settings: "Settings | None", source: Source) -> "Kernels":
    """A reader of kernels, through the cluster's API or this machine's sockets."""
    if settings is None:
        raise BadInput("--actual needs a cluster that runs Steppe: this one does not, or is files")
    from steppe.cli.explain_actual import Kernels
    from steppe.compile.node import compile_cluster

    nodes = loaded.cluster.nodes
    return Kernels(_agents(source), nodes, lambda part: compile_cluster(settings, part)[0])


def _agents(source: Source) -> "list[Agent]":
    """Those that run as pods of the cluster; where none does, those on this machine."""
    from steppe.cli.agents import OnThisMachine, sockets
    from steppe.cli.pods import agents_of

    live = bool(source.kubeconfig or source.context)
    in_pods = agents_of(source.kubeconfig, source.context) if live else []
    if in_pods:
        return [each for each in in_pods if each.where]
    paths = sockets(None if live else lab_record(source.lab).options.name, None)
    return [OnThisMachine(path) for path in paths]


def _notes(loaded: "Loaded", said: "Explanation") -> list[str]:
    """Notes on what limits the answer: invented objects, Problems, and gaps."""
    from steppe.explain.sentences import listed, object_text

    causes = {
        cause.ref
        for case in said.cases
        for path in case.paths
        for step in path.steps
        for cause in (*step.because, *path.egress.because, *path.ingress.because)
    }
    notes = []
    invented = sorted(causes & loaded.invented)
    if invented:
        names = listed([object_text(ref) for ref in invented[:3]])
        more = f" and {len(invented) - 3} more" if len(invented) > 3 else ""
        are = "is" if len(invented) == 1 else "are"
        notes.append(f"{names}{more} {are} what a cluster would make of these manifests.")
    concerned = [p for p in loaded.problems if p.cause.ref in causes]
    notes += [f"{problem}." for problem in concerned]
    if len(loaded.problems) > len(concerned):
        others = len(loaded.problems) - len(concerned)
        notes.append(f"{others} faults in other objects; -o json lists them.")
    notes += [f"not taken into account: {gap}" for gap in loaded.gaps]
    return notes
