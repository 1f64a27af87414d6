"""The settings of a running cluster's agents, as published on their Nodes."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from steppe.cli.source import Source, lab_record
from steppe.kube.cause import ObjectRef

if TYPE_CHECKING:
    from steppe.manifests.cluster import Loaded
    from steppe.settings import Settings


def settings_of(loaded: "Loaded", source: Source) -> "Settings | None":
    """The settings of the cluster's agents; None if the cluster does not run Steppe."""
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
