"""Whether another API server has what its admission asks of pods: a ServiceAccount.

"The ServiceAccount admission controller … if the pod does not have a ServiceAccount set, sets it to
default" and refuses the pod where there is none (Kubernetes, managing service accounts). They are
made by the controller manager; the lab's own controllers do not make any.
"""

from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.resources import NAMESPACES, PODS, SERVICEACCOUNTS

DEFAULT = "default"
_MOST = 5
_NOT_TOLD = (403, 404)


_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "steppe-lab-question"},
    "spec": {"containers": [{"name": "c", "image": "none"}]},
}


async def refused_pods(client: Client) -> str:
    """What to tell where the server refuses pods for want of ServiceAccounts; "" where it does not.

    The server is asked by a dry run, which changes nothing: its admission may be off.
    """
    try:
        namespaces, _ = await client.list(NAMESPACES)
        accounts, _ = await client.list(SERVICEACCOUNTS)
    except ApiError as error:
        if error.status not in _NOT_TOLD:
            raise
        return ""
    held = {
        each["metadata"]["namespace"] for each in accounts if each["metadata"]["name"] == DEFAULT
    }
    without = sorted({each["metadata"]["name"] for each in namespaces} - held)
    if not without:
        return ""
    try:
        await client.create(PODS, _POD, without[0], dry_run=True)
    except ApiError as error:
        # Another reason to refuse it is not ours to explain.
        return _warning(without, error) if "serviceaccount" in error.message.lower() else ""
    return ""


def _warning(namespaces: list[str], error: ApiError) -> str:
    more = len(namespaces) - _MOST
    named = ", ".join(namespaces[:_MOST]) + (f" and {more} more" if more > 0 else "")
    return (
        f"this API server refuses all pods, those of Deployments too, in {named}: there is no "
        f"ServiceAccount `{DEFAULT}`, because no controller manager runs beside it ({error}). Make "
        f"it in each: kubectl -n {namespaces[0]} create serviceaccount {DEFAULT}"
    )
