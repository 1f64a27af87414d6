"""Asks the agent of this pod, for 30 seconds: `python3 -P -m steppe.agent.relay GET audit 30`.

For who runs it there by `kubectl exec`, and has no way to agent.sock: `steppe audit --kubeconfig`.
For `POST tables` the question's body is one line of standard input, as JSON. The agent's answer
goes to standard output; {"error": "…"} if there is none, with exit code 1.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from steppe.agent.ask import AskError, Document, ask

SOCKET = Path("/run/steppe/agent.sock")
MODULE = "steppe.agent.relay"


def main(arguments: Sequence[str]) -> int:
    """Ask with METHOD WHAT [SECONDS] [body]; a word `body` says that standard input has one."""
    method, what, seconds, *more = arguments
    try:
        body = msgspec.json.decode(sys.stdin.buffer.readline(), type=Document) if more else None
        answer = ask(SOCKET, what, method=method, body=body, timeout=float(seconds))
    except (AskError, msgspec.MsgspecError) as error:
        answer = {"error": str(error)}
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
