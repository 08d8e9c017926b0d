"""What runs print: in files, as Dagster keeps it, and on the terminal. Uses Dagster's private interfaces.

Dagster's own manager starts four processes a run that copy the files to the terminal, two of them Python's, and waits
for their end: for a night in process that is a tenth of a second of both cores. Here a thread copies. The files are
Dagster's: the instance can go back to ``LocalComputeLogManager`` at any time.
"""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

from dagster._core.execution.compute_logs import _fileno, redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._utils import ensure_file, touch_file

LOOK_EVERY_SECONDS = 0.5
PIECE_BYTES = 2**16


class ThreadComputeLogManager(LocalComputeLogManager):
    """Files of what runs print, copied to the terminal by a thread of the process that prints."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "ThreadComputeLogManager":
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        with ExitStack() as streams:
            for kind, stream in ((ComputeIOType.STDOUT, sys.stdout), (ComputeIOType.STDERR, sys.stderr)):
                path = ensure_file(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
                streams.enter_context(_shown(path, stream))
                streams.enter_context(redirect_to_file(stream, path))
            yield CapturedLogContext(log_key)
        touch_file(self.complete_artifact_path(log_key))


@contextmanager
def _shown(path: str, stream: Any) -> Iterator[None]:
    """Shows what comes to a file on a stream, as it is before it is redirected into that file."""
    number = _fileno(stream)
    if number is None:  # no terminal, as in notebooks; then nothing is redirected either
        yield
        return
    stream.flush()
    over = threading.Event()
    with open(path, "rb") as file, os.fdopen(os.dup(number), "wb", buffering=0) as terminal:
        file.seek(0, os.SEEK_END)
        thread = threading.Thread(
            target=_follow, args=(file, terminal, over), name="shows what runs print", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _follow(file: BinaryIO, terminal: BinaryIO, over: threading.Event) -> None:
    while True:
        last = over.is_set()  # asked before reading: what was printed by then is in the file
        try:
            while piece := file.read(PIECE_BYTES):
                terminal.write(piece)
        except OSError:  # the terminal was closed; the file has everything
            return
        if last:
            return
        over.wait(LOOK_EVERY_SECONDS)
