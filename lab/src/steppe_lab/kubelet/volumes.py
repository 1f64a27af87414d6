"""A pod's volumes as folders under its state folder, and the mounts a container makes of them.

ConfigMaps, Secrets, tokens and downward fields are written when the pod starts and not refreshed
afterwards; kubelet would refresh them within a minute or so.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from steppe_lab.kubelet.expand import Addresses, Sources, Unresolved, field_value
from steppe_lab.kubelet.process import Mount
from steppe_lab.kubelet.records import (
    Container,
    DownwardVolume,
    KeyToPath,
    Pod,
    ProjectedVolume,
    Volume,
)

Files = dict[str, bytes]
# The files of one token each, by the path it has in its volume's projection.
Tokens = Mapping[str, bytes]


def prepare(
    pod: Pod, folder: Path, addresses: Addresses, sources: Sources, tokens: Tokens
) -> dict[str, Path]:
    """The place on the host of every volume of the pod, made and filled."""
    made = {}
    for volume in pod.spec.volumes:
        if volume.host_path is not None:
            made[volume.name] = _host_path(volume.host_path.path, volume.host_path.type)
            continue
        place = folder / volume.name
        place.mkdir(parents=True, exist_ok=True)
        for path, data in _files(volume, pod, addresses, sources, tokens).items():
            _write(place, path, data)
        made[volume.name] = place
    return made


def mounts(container: Container, volumes: Mapping[str, Path]) -> tuple[Mount, ...]:
    """What a container sees of the volumes, outer paths before inner ones."""
    found = []
    for one in sorted(container.volume_mounts, key=lambda mount: mount.mount_path):
        source = volumes[one.name]
        if one.sub_path:
            source = _inside(source, one.sub_path)
            if not source.exists():
                source.mkdir(parents=True)
        top = Path(*Path(one.mount_path).parts[:2])
        if not top.exists():
            # launch.sh makes missing paths below a folder that exists, but / it cannot replace.
            raise Unresolved(
                f"mountPath {one.mount_path}: the host, on whose file system the lab runs"
                f" containers, has no {top}; choose a path below one it has, such as /mnt or /srv"
            )
        found.append(Mount(str(source), one.mount_path, one.read_only))
    return tuple(found)


def remove(folder: Path) -> None:
    """Delete all volumes of a pod with what they hold."""
    shutil.rmtree(folder, ignore_errors=True)


def _files(
    volume: Volume, pod: Pod, addresses: Addresses, sources: Sources, tokens: Tokens
) -> Files:
    if volume.empty_dir is not None:
        return {}
    if volume.config_map is not None:
        one = volume.config_map
        return _keys("configmap", one.name, one.items, one.optional, sources.config_maps)
    if volume.secret is not None:
        two = volume.secret
        return _keys("secret", two.secret_name, two.items, two.optional, sources.secrets)
    if volume.downward_api is not None:
        return _downward(volume.downward_api, pod, addresses)
    if volume.projected is not None:
        return _projected(volume.projected, pod, addresses, sources, tokens)
    raise Unresolved(f"volume {volume.name!r}: this kind of volume is not supported in the lab")


def _projected(
    volume: ProjectedVolume, pod: Pod, addresses: Addresses, sources: Sources, tokens: Tokens
) -> Files:
    files: Files = {}
    for part in volume.sources:
        if part.config_map is not None:
            one = part.config_map
            files |= _keys("configmap", one.name, one.items, one.optional, sources.config_maps)
        if part.secret is not None:
            two = part.secret
            files |= _keys("secret", two.name, two.items, two.optional, sources.secrets)
        if part.downward_api is not None:
            files |= _downward(part.downward_api, pod, addresses)
        if part.service_account_token is not None:
            path = part.service_account_token.path
            files[path] = tokens.get(path, b"")
    return files


def _keys(
    kind: str,
    name: str,
    items: tuple[KeyToPath, ...],
    optional: bool,
    known: Mapping[str, Mapping[str, bytes]],
) -> Files:
    if name not in known:
        if optional:
            return {}
        raise Unresolved(f'{kind} "{name}" not found')
    data = known[name]
    if not items:
        return dict(data)
    missing = [item.key for item in items if item.key not in data]
    if missing and not optional:
        raise Unresolved(f"{kind} {name!r} has no key {missing[0]!r}")
    return {item.path: data[item.key] for item in items if item.key in data}


def _downward(volume: DownwardVolume, pod: Pod, addresses: Addresses) -> Files:
    return {
        item.path: field_value(item.field_ref.field_path, pod, addresses).encode()
        for item in volume.items
        if item.field_ref is not None
    }


def _host_path(path: str, kind: str) -> Path:
    place = Path(path)
    if not place.exists() and kind != "":
        # "DirectoryOrCreate" and "FileOrCreate" would leave something on the machine for good.
        raise Unresolved(f"hostPath {path} does not exist, and the lab creates none")
    return place


def _write(folder: Path, path: str, data: bytes) -> None:
    target = _inside(folder, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    target.chmod(0o644)


def _inside(folder: Path, path: str) -> Path:
    """A path below a folder; "May not contain the path element '..'", nor lead out by a link."""
    target = (folder / path).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise Unresolved(f"path {path!r} leads out of its volume")
    return target
