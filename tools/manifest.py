"""Renders deploy/chart into deploy/steppe.yaml, for people without helm.

`make manifest` runs it; `python tools/manifest.py --check` says whether the file belongs to the
chart as it is, without helm: its first lines hold the digest of what it was rendered from.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy" / "chart"
MANIFEST = ROOT / "deploy" / "steppe.yaml"
CRDS = ROOT / "src" / "steppe" / "kube" / "crds"
KUBERNETES = "1.36.0"
HELM = ROOT / "tools" / "helm.sh"

_HEADER = """\
# Steppe, rendered from deploy/chart with its default values: make manifest. Do not edit.
# Chart sha256: {digest}
# Before you apply it, tell agents where the API server is (docs/install.md):
#   kubectl -n kube-system create configmap steppe-api-server \\
#     --from-literal=KUBERNETES_SERVICE_HOST=ADDRESS --from-literal=KUBERNETES_SERVICE_PORT=6443
"""


def digest() -> str:
    """The SHA-256 of all of the chart's files, with their names."""
    made = hashlib.sha256()
    for path in sorted(path for path in CHART.rglob("*") if path.is_file()):
        data = path.read_bytes()
        made.update(f"{path.relative_to(CHART)} {len(data)}\n".encode() + data)
    return made.hexdigest()


def fault() -> str:
    """Why the manifest does not belong to the chart; "" if it does."""
    found = re.search("^# Chart sha256: ([0-9a-f]{64})$", MANIFEST.read_text(), re.MULTILINE)
    if found is None:
        return f"{MANIFEST.name} does not say which chart it was rendered from"
    if found[1] != digest():
        return f"{MANIFEST.name} was rendered from another chart; run `make manifest`"
    return ""


def rendered() -> str:
    """What helm makes of the chart; ends the program where helm refuses it."""
    for crd in CRDS.glob("*.yaml"):
        (CHART / "crds" / crd.name).write_bytes(crd.read_bytes())
    _helm("lint", "--strict", "--quiet", str(CHART))
    # What a helm that was built by `go install` takes for the cluster's version is 1.20.
    where = ("--namespace", "kube-system", "--kube-version", KUBERNETES)
    return _helm("template", "steppe", str(CHART), "--include-crds", *where)


def _helm(*arguments: str) -> str:
    done = subprocess.run([HELM, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.stdout.write(done.stdout)
        sys.exit(f"manifest.py: helm {arguments[0]} refused the chart")
    return done.stdout


def main() -> int:
    """Render, or with --check compare; 1 if the manifest is out of date."""
    if "--check" in sys.argv[1:]:
        why = fault()
        sys.stderr.write(f"{why}\n" if why else "")
        return 1 if why else 0
    text = rendered()  # first: it also brings the chart's CRDs up to date
    MANIFEST.write_text(_HEADER.format(digest=digest()) + text)
    print(f"wrote {MANIFEST.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
