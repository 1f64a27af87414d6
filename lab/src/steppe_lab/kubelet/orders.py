"""What it takes to start a pod's containers: files, volumes, environment, command line.

Fetches the ConfigMaps, Secrets and tokens that the pod names, anew for every start.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from steppe.client.client import Client
from steppe.client.errors import ApiError
from steppe.client.resources import CONFIGMAPS, SECRETS, SERVICEACCOUNTS, Resource
from steppe_lab.images.catalogue import entry_point
from steppe_lab.kubelet import hostfiles, volumes
from steppe_lab.kubelet.config import DnsSettings, NodeConfig
from steppe_lab.kubelet.enter import container_log
from steppe_lab.kubelet.expand import Addresses, Sources, command_line, environment, references
from steppe_lab.kubelet.process import Launch, Mount
from steppe_lab.kubelet.records import Container, Pod
from steppe_lab.kubelet.sandbox import Sandbox

_HOST_RESOLV_CONF = Path("/etc/resolv.conf")


class Orders(msgspec.Struct, frozen=True):
    """Makes start orders for the pods of one node."""

    lab: str
    node: NodeConfig
    dns: DnsSettings
    client: Client

    async def order(self, pod: Pod, container: Container, sandbox: Sandbox) -> Launch:
        """Everything a container needs, written to disk; `run` is the caller's to choose."""
        # An unknown image is told before the pod's files, which nobody would read, are made.
        image = () if container.command else entry_point(container.image)
        folder = self.node.pod_dir(pod.metadata.uid)
        folder.mkdir(parents=True, exist_ok=True)
        addresses = Addresses(sandbox.addresses, self.node.addresses)
        sources = await self._sources(pod)
        places = volumes.prepare(
            pod, folder / "volumes", addresses, sources, await self._tokens(pod)
        )
        env = environment(container, pod, addresses, sources)
        hostname = self.node.name if pod.spec.host_network else pod.hostname
        return Launch(
            run=folder,
            netns=sandbox.netns,
            hostname=hostname,
            command=command_line(container, image, env),
            # Every process of a lab carries its name, so that `lab down` finds it.
            env={**env, "HOSTNAME": hostname, "STEPPE_LAB": self.lab},
            working_dir=container.working_dir or "/",
            mounts=(
                *self._files(pod, folder, sandbox.addresses),
                *volumes.mounts(container, places),
            ),
            log=container_log(self.node, pod.metadata.uid, container.name),
        )

    def _files(self, pod: Pod, folder: Path, addresses: tuple[str, ...]) -> tuple[Mount, ...]:
        host = _HOST_RESOLV_CONF.read_text() if _HOST_RESOLV_CONF.exists() else ""
        hosts, resolv = folder / "hosts", folder / "resolv.conf"
        hosts.write_text(hostfiles.hosts(pod, addresses, self.dns.domain))
        resolv.write_text(hostfiles.resolv_conf(pod, self.dns, host))
        return Mount(str(hosts), "/etc/hosts"), Mount(str(resolv), "/etc/resolv.conf")

    async def _sources(self, pod: Pod) -> Sources:
        maps, secrets = references(pod)
        namespace = pod.metadata.namespace
        return Sources(
            {
                name: data
                for name in maps
                if (data := await self._data(CONFIGMAPS, name, namespace)) is not None
            },
            {
                name: data
                for name in secrets
                if (data := await self._data(SECRETS, name, namespace)) is not None
            },
        )

    async def _data(self, resource: Resource, name: str, namespace: str) -> dict[str, bytes] | None:
        try:
            found = await self.client.get(resource, name, namespace)
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return _payload(resource, found)

    async def _tokens(self, pod: Pod) -> Mapping[str, bytes]:
        tokens = {}
        for volume in pod.spec.volumes:
            for part in volume.projected.sources if volume.projected else ():
                wanted = part.service_account_token
                if wanted is not None:
                    tokens[wanted.path] = await self._token(
                        pod, wanted.audience, wanted.expiration_seconds
                    )
        return tokens

    async def _token(self, pod: Pod, audience: str, seconds: int) -> bytes:
        """A token bound to this pod, as the TokenRequest API gives them."""
        meta = pod.metadata
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta.name, "uid": meta.uid}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": bound,
            },
        }
        answer = await self.client.create(
            SERVICEACCOUNTS,
            body,
            meta.namespace,
            name=pod.spec.service_account_name,
            subresource="token",
        )
        return str(answer["status"]["token"]).encode()


def _payload(resource: Resource, found: dict[str, Any]) -> dict[str, bytes]:
    """The keys of a ConfigMap or Secret as files."""
    if resource is SECRETS:
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    plain = {key: value.encode() for key, value in (found.get("data") or {}).items()}
    binary = {
        key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()
    }
    return plain | binary
