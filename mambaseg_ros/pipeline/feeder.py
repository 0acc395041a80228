"""The thread that decodes the second input as it comes, so that it is ready when its image is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from mambaseg_ros.faults import sentence_of
from mambaseg_ros.pipeline.inbox import Inbox


class Feeder:
    """Move messages of the second input from the inbox to its source.

    Args:
        inbox: where they come from; closing it ends the thread.
        add_all: decodes, counts and keeps some; returns what is wrong with those that it refused.
        warn: called with one sentence on what is wrong with a message.
        useful_s: returns how long a packet can wait and still be of use, seconds.
    """

    def __init__(
        self,
        inbox: Inbox,
        add_all: Callable[[Sequence[Any]], list[Exception]],
        warn: Callable[[str], None],
        useful_s: Callable[[], float],
    ) -> None:
        self._inbox, self._add_all, self._warn, self._useful_s = inbox, add_all, warn, useful_s
        self._thread = threading.Thread(target=self._run, name="mambaseg feeder", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float | None) -> None:
        """Wait until the thread has ended, if it was started. It ends once the inbox is closed."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._inbox.closed:
            try:
                self._inbox.poll()
            except Exception as error:  # of the middleware
                self._warn(sentence_of(error))
            if messages := self._inbox.take_packets():
                for refusal in self._add(messages):
                    self._warn(sentence_of(refusal))
                self._inbox.packets_done_with(len(messages))

    def _add(self, messages: list[Any]) -> list[Exception]:
        try:
            return self._add_all(messages)
        except Exception as error:  # hostile bytes must not end the thread
            return [error]
        finally:
            self._inbox.max_packet_age_s = self._useful_s()
