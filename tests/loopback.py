"""Real servers on loopback that alerts are sent to: a webhook, and a mail server. For tests."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Webhook:
    """What a webhook was sent; ``status`` is what it answers with, and only messages answered with 200 are kept."""

    port: int
    status: int = 200
    messages: list[dict[str, str]] = field(default_factory=list)
    attempts: int = 0

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.messages]


@contextmanager
def webhook() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.attempts += 1
            if hook.status == 200:
                hook.messages.append(content)
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = Webhook(server.server_address[1])
        with _serving(server):
            yield hook


@dataclass
class Mailbox:
    """The letters that a mail server took, as they came over the wire."""

    port: int
    letters: list[str] = field(default_factory=list)


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 loopback\r\n")
            while line := self.rfile.readline().decode().strip():
                word = line.split(maxsplit=1)[0].upper()
                if word == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    letter = []
                    while (text := self.rfile.readline()) != b".\r\n":
                        letter.append(text.decode())
                    box.letters.append("".join(letter))
                self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        box = Mailbox(server.server_address[1])
        with _serving(server):
            yield box


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
