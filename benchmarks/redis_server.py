"""A Redis server of one's own on a free port, for measurements and tests; it keeps nothing on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

NOT_INSTALLED = "no redis-server is installed (apt-get install redis-server)"


@dataclass
class RedisServer:
    """A running server.

    Parameters
    ----------
    process : None while it is stopped.
    """

    port: int
    process: subprocess.Popen[str] | None = None

    @property
    def uri(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts the server, empty, and returns when it takes connections."""
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "eady to accept connections" in line:
                return
        raise RuntimeError(f"redis-server on port {self.port} ended: {''.join(said[-5:])}")

    def kill(self) -> None:
        """Ends the server as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def installed() -> bool:
    return shutil.which("redis-server") is not None


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A server that runs until the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = RedisServer(port)
    server.start()
    try:
        yield server
    finally:
        server.kill()
