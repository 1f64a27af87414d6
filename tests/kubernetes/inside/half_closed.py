"""half_closed.py serve PORT SECONDS | ask HOST PORT: an answer that comes long after the question.

The client closes its side after the question (a TCP half-close, RFC 9293 section 3.6); the server
answers SECONDS later.
"""

import socket
import sys
import time

QUESTION, ANSWER = b"question", b"late answer"


def serve(port: str, seconds: str) -> None:
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as at:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        connection, _ = at.accept()
        while connection.recv(4096):
            pass
        time.sleep(float(seconds))
        connection.sendall(ANSWER)
        connection.close()


def ask(host: str, port: str) -> None:
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(QUESTION)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(150)
        answer = connection.recv(100)
    sys.stdout.write(answer.decode())


(serve if sys.argv[1] == "serve" else ask)(*sys.argv[2:])
