"""`python -m tools.image.build`: the image as an OCI archive, and what it is made of."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.image import debian, oci, python, sbom
from tools.image.tree import Tree, file

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "opt/steppe/steppe-cni"
_COMMAND = "#!/usr/bin/python3 -P\nfrom steppe.cli.main import main\n\nmain()\n"
_EXAMPLE = "Example: make image   (dist/steppe-image-amd64.tar and .cdx.json)"


def say(text: str) -> None:
    print(f"image: {text}", file=sys.stderr, flush=True)


def epoch() -> int:
    """The time of everything in the image: SOURCE_DATE_EPOCH, else that of the last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
        given = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return int(given)


def build(architecture: str, wheel: Path, shim: Path | None, out: Path) -> None:
    """Write the archive and its list of contents into `out`."""
    say(f"packages of Debian {debian.SUITE} for {architecture}")
    base, packages = debian.layer(architecture)
    with tempfile.TemporaryDirectory(prefix="steppe-image-") as folder:
        say("wheels that requirements.lock pins")
        lock = ROOT / "requirements.lock"
        wheels = python.with_dependencies(wheel, lock, architecture, Path(folder))
        ours = python.layer(wheels) | {"usr/bin/steppe": file(_COMMAND, 0o755)}
    if shim is not None:
        ours[PLUGIN] = file(shim.read_bytes(), 0o755)
    say("byte code")
    for tree in (base, ours):
        tree.update(python.compiled(tree))
    (version,) = (w.metadata["Version"] for w in wheels if w.name == "steppe")
    name = f"localhost/steppe:{version}"
    say("archive")
    image = oci.Image(
        name,
        architecture,
        epoch(),
        [
            (f"Debian {debian.SUITE}: {', '.join(p.name for p in packages)}", base),
            ("wheels: " + ", ".join(w.name for w in wheels), ours),
        ],
        _run(version),
    )
    archive = out / f"steppe-image-{architecture}.tar"
    digest = oci.write(image, archive)
    listed = archive.with_suffix(".cdx.json")
    listed.write_text(sbom.document(name, digest, image.epoch, packages, wheels))
    _report(image, archive, listed, digest)


def _run(version: str) -> dict[str, object]:
    return {
        "Entrypoint": ["/usr/bin/python3", "-P", "-m", "steppe.agent"],
        "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1"],
        "WorkingDir": "/",
        "Labels": {
            "org.opencontainers.image.title": "steppe",
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
    }


def _report(image: oci.Image, archive: Path, listed: Path, digest: str) -> None:
    files: Tree = {}
    for _, tree in image.layers:
        files |= tree
    unpacked = sum(len(entry.data) for entry in files.values())
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB ({unpacked / 1e6:.1f} MB unpacked)")
    print(f"{listed}: what is in it")
    print(f"{image.name}@{digest}")
    if PLUGIN not in files:
        print("without the static CNI plugin: install the chart with agent.cniPlugin=script")


def main() -> int:
    """Exit code: 0 done, 1 a program that it needs failed or is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.image.build", description=__doc__, epilog=_EXAMPLE
    )
    parser.add_argument("--architecture", choices=sorted(python.MACHINES), default="amd64")
    parser.add_argument("--wheel", type=Path, required=True, help="Steppe's own wheel")
    parser.add_argument("--shim", type=Path, help="the static CNI plugin; default: none")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder (%(default)s)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        build(given.architecture, given.wheel, given.shim, given.out)
    except FileNotFoundError as error:
        say(f"{error.filename} is missing (apt-get install mmdebstrap dpkg git)")
        return 1
    except subprocess.CalledProcessError as error:
        say(f"{' '.join(map(str, error.cmd[:4]))} … failed with exit code {error.returncode}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
