"""Try things in a throw-away network namespace, so that the machine's own is never touched.

Each attempt is a child process that leaves for a namespace of its own first (`unshare --net`);
the kernel removes the namespace, and all that was made in it, when the child ends.
"""

import os
import shutil
import subprocess
from pathlib import Path

from steppe.drivers.requirements.model import Outcome, missing, ok, unknown

# Generous: under software emulation a program starts 40 times slower, and modules load besides.
TIMEOUT = 30.0
_NO_ANSWER = 124
_PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def program(name: str) -> str | None:
    """Where a program is; the sbin folders count even where PATH leaves them out."""
    return shutil.which(name, path=_PATH)


def run(arguments: tuple[str, ...], stdin: str = "") -> tuple[int, str]:
    """Run a program: its exit code, and the last line of what it said."""
    try:
        done = subprocess.run(
            arguments,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env={**os.environ, "PATH": _PATH, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return _NO_ANSWER, f"no answer within {TIMEOUT:.0f} s"
    except OSError as error:
        return 127, f"{arguments[0]}: {error.strerror}"
    # Warnings follow the error in nft's output, and precede it in that of ip.
    lines = (done.stderr or done.stdout).strip().splitlines()
    said = next((line for line in lines if "rror" in line), lines[-1] if lines else "")
    return done.returncode, said.strip()


def in_namespace(*arguments: str, stdin: str = "") -> Outcome:
    """Whether a program succeeds in a network namespace of its own."""
    for needed in ("unshare", arguments[0]):
        if program(needed) is None:
            return unknown(f"cannot be tried without the program {needed}")
    if os.geteuid() != 0:
        return unknown("only root can try")
    code, said = run(("unshare", "--net", "--", *arguments), stdin)
    if code == _NO_ANSWER:
        return unknown(said)
    return ok() if code == 0 else missing(said)


def with_module(module: str, *arguments: str, stdin: str = "") -> Outcome:
    """As `in_namespace`, but without making the kernel load a module.

    Loading some (ipip, sit, gre, dummy) puts a device into every namespace, the machine's own too.
    A module that is not in use is therefore only looked up.
    """
    _, how = run(("modprobe", "--dry-run", "--show-depends", module))
    if how.startswith("insmod") and not Path("/sys/module", module).exists():
        return ok("a module, loaded when first used")
    return in_namespace(*arguments, stdin=stdin)
