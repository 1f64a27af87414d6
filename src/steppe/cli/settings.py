"""The settings of a running cluster's agents, as published on their Nodes, and what a command was
told instead of them.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from steppe.cli.source import Source, lab_record
from steppe.kube.cause import ObjectRef

if TYPE_CHECKING:
    from steppe.manifests.cluster import Loaded
    from steppe.settings import Settings


def settings_of(loaded: "Loaded", source: Source) -> "Settings | None":
    """The settings of the cluster's agents; None if the cluster does not run Steppe."""
    found = _of_agents(loaded, source)
    return found and _as_told(found, source)


def judged(loaded: "Loaded", source: Source) -> "Loaded":
    """The cluster with the settings by which it is judged what its objects may claim.

    Every command that reads a cluster gets them here: what it was told, or what the agents
    publish, or else the agents' defaults.
    """
    from steppe.settings import Settings

    found = settings_of(loaded, source) or _as_told(Settings(), source)
    return msgspec.structs.replace(loaded, settings=found)


def _as_told(settings: "Settings", source: Source) -> "Settings":
    told = {"pod_ranges": source.pod_ranges, "external_ips": source.external_ips}
    changed = {name: value for name, value in told.items() if value is not None}
    return msgspec.structs.replace(settings, **changed)


def _of_agents(loaded: "Loaded", source: Source) -> "Settings | None":
    from steppe.settings import Settings

    if source.filenames:
        return None
    published = _published(loaded)
    if published:
        # Agents are restarted one after the other: the most frequent settings are used.
        return Counter(published.values()).most_common(1)[0][0]
    if not (source.kubeconfig or source.context):
        # Its agents may not have published them yet.
        return Settings(fabric=lab_record(source.lab).options.fabric)
    seen = (node for node in loaded.cluster.nodes.values() if node.ref not in loaded.invented)
    if any(node.underlay.addresses for node in seen):
        return Settings()  # agents of an earlier version published their underlay only
    return None


def disagreement(loaded: "Loaded", settings: "Settings") -> str:
    """A sentence on nodes that run with other settings; "" if there are none."""
    others = sorted(name for name, own in _published(loaded).items() if own != settings)
    if not others:
        return ""
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return (
        f"the agents of {', '.join(others[:3])}{more} run with other settings than those of the "
        "other nodes, which are taken to be everybody's."
    )


def _published(loaded: "Loaded") -> "dict[str, Settings]":
    """The settings of each Node on which they can be read."""
    from steppe.fabric.registry import fabric_of
    from steppe.settings import SETTINGS_ANNOTATION, settings_from

    found: dict[str, Settings] = {}
    for name in loaded.cluster.nodes:
        document: Any = loaded.objects[ObjectRef("Node", "", name)]
        text = (document["metadata"].get("annotations") or {}).get(SETTINGS_ANNOTATION, "")
        try:
            settings = settings_from(text)
            fabric_of(settings)
        except ValueError:
            continue  # written by another version or by something else: use the other nodes
        found[name] = settings
    return found
