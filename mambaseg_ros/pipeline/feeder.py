"""The thread that decodes the second input as it comes, so that it is ready when its image is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mambaseg_ros.faults import sentence_of
from mambaseg_ros.pipeline.inbox import Inbox


class Feeder:
    """Move messages of the second input from the inbox to its source.

    Args:
        inbox: where they come from; closing it ends the thread.
        add: decodes, counts and keeps one.
        warn: called with one sentence on what is wrong with a message.
    """

    def __init__(self, inbox: Inbox, add: Callable[[Any], None], warn: Callable[[str], None]) -> None:
        self._inbox, self._add, self._warn = inbox, add, warn
        self._thread = threading.Thread(target=self._run, name="mambaseg feeder", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float | None) -> None:
        """Wait until the thread has ended, if it was started. It ends once the inbox is closed."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (message := self._inbox.take_packet()) is not None:
            try:
                self._add(message)
            except Exception as error:  # hostile bytes must not end the thread
                self._warn(sentence_of(error))
            finally:
                self._inbox.packet_done()
