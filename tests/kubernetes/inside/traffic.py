"""traffic.py SECONDS RATE HOST:PORT...: HTTP requests, one connection each, to all in turn.

It ends sooner when its standard input does. Prints JSON: how many were made, why some failed, and
the longest that one took in seconds.
"""

import json
import select
import socket
import sys
import time

LIMIT = 5.0
"""Seconds after which a connection counts as lost."""


def request(host: str, port: int) -> str:
    """ "" if it was answered, else why not."""
    try:
        with socket.create_connection((host, port), LIMIT) as connection:
            connection.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
            answer = b""
            while part := connection.recv(4096):
                answer += part
    except OSError as error:
        return repr(error)
    return "" if answer.startswith(b"HTTP/1.0 200") else repr(answer[:40])


def ended() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def main() -> None:
    seconds, rate, *targets = sys.argv[1:]
    ends = [(host.strip("[]"), int(port)) for host, _, port in (t.rpartition(":") for t in targets)]
    begun = time.monotonic()
    made, longest = 0, 0.0
    failed: list[str] = []
    while (now := time.monotonic()) < begun + float(seconds) and not ended():
        due = begun + made / float(rate)
        if due > now:
            time.sleep(due - now)
        host, port = ends[made % len(ends)]
        at = time.monotonic()
        if why := request(host, port):
            failed.append(f"{at - begun:.2f} s {host}: {why}")
        longest = max(longest, time.monotonic() - at)
        made += 1
    sys.stdout.write(json.dumps({"made": made, "failed": failed, "longest": round(longest, 3)}))


main()
