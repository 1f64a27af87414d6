"""Names of built-in images and their entry points.

A name counts without its registry and tag. An image that is not here runs only with a `command`,
on the host's file system.
"""

import sys
from pathlib import Path

from steppe.errors import SteppeError

_PROGRAM = Path(__file__).with_name("program.py")

# Image name → the entry point's arguments. Names match by their last component.
CATALOGUE: dict[str, tuple[str, ...]] = {
    "echo": ("echo",),
    "agnhost": (),
    "nginx": ("nginx",),
    "pause": ("pause",),
}


class UnknownImage(SteppeError):  # noqa: N818  the reason a pod shows is ImageNotInLab
    """The image is not built in, and the container names no command."""


def base_name(image: str) -> str:
    """`registry.k8s.io/e2e-test-images/agnhost:2.45@sha256:…` is `agnhost`."""
    # A colon before the last slash is a registry's port.
    return image.split("@", maxsplit=1)[0].rsplit("/", 1)[-1].split(":", maxsplit=1)[0]


def entry_point(image: str) -> tuple[str, ...]:
    """The command line that stands for an image's ENTRYPOINT."""
    name = base_name(image)
    if name not in CATALOGUE:
        known = ", ".join(sorted(CATALOGUE))
        raise UnknownImage(
            f"image {image!r} is not in the lab, which pulls none. Built-in images: {known}."
            " Any other container needs a `command`, which runs on the host's file system."
        )
    # Without site and environment Python starts twice as fast; program.py finds its package.
    return (sys.executable, "-I", "-S", str(_PROGRAM), *CATALOGUE[name])
