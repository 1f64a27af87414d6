"""The entry point of every built-in image: `program.py NAME [FLAG]…`.

Run by path and without `site`, so that a hundred pods start fast; hence it finds its own package,
and nothing it imports may need more than the standard library.
"""

import sys
from pathlib import Path

# -I leaves the script's folder out of sys.path, and -S site-packages: src is two levels up.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steppe_lab.images import agnhost, echo


def main(arguments: list[str]) -> int:
    """Run the named program; 2 for one that does not exist."""
    programs = {
        "echo": echo.main,
        "nginx": agnhost.nginx,
        "pause": agnhost.pause,
        "netexec": agnhost.netexec,
        "serve-hostname": agnhost.serve_hostname,
        "connect": agnhost.connect,
    }
    # agnhost without a command pauses, as the original image's default does.
    name, *rest = arguments or ["pause"]
    if name not in programs:
        sys.stderr.write(f"{name}: not in the lab's images, which have {', '.join(programs)}\n")
        return 2
    return programs[name](rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
