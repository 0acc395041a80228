"""The thread that decodes event messages as they come, so that they are ready when their image is."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mambaseg_ros.diagnostics import sentence_of
from mambaseg_ros.intake import EventIntake
from mambaseg_ros.pairing import Inbox


class Feeder:
    """Moves event messages from the inbox through the intake into the event buffer.

    Args:
        inbox: where they come from; closing it ends the thread.
        intake: decodes and counts them.
        warn: told, in one sentence, what is wrong with a message.
    """

    def __init__(self, inbox: Inbox, intake: EventIntake, warn: Callable[[str], None]) -> None:
        self._inbox, self._intake, self._warn = inbox, intake, warn
        self._thread = threading.Thread(target=self._run, name="mambaseg feeder", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float | None) -> None:
        """Wait until it has ended, which it does once the inbox is closed."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while (message := self._inbox.take_packet()) is not None:
            try:
                self._intake.add(message)
            except Exception as error:  # hostile bytes must not end the thread
                self._warn(sentence_of(error))
            finally:
                self._inbox.packet_done()
