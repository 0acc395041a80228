"""One clean end at SIGINT, SIGTERM and SIGHUP, in every phase of a process.

Standard library only: a process installs its handlers before it imports torch, which takes seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, "FrameType | None"], None]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130  # exit status of a command that a signal ended, as shells have it for SIGINT
BURST_S = 1.0  # ros2 launch, a terminal and an impatient user send several signals at once
AGAIN_S = 5.0  # as ros2 launch waits before its next signal
END_S = 1.0  # longest time from a signal to the end of the process
_own: list[Handler] = []


def end_at_once(status: int) -> None:
    """Let a signal end the process in silence; for the time of the imports, when there is nothing to undo."""
    _install(lambda number, frame: os._exit(status))


def end_by_callback(begin: Callable[[], None], status: int = 0) -> None:
    """Let the first signal call `begin`, and end the process at the latest `END_S` later; ignore further signals.

    A thread does both, so a main thread that waits outside Python cannot delay the end.

    Args:
        begin: called in another thread; it asks the main thread to end.
        status: exit status of a process whose main thread did not end in time.
    """
    came, asks = os.pipe()
    os.set_blocking(asks, False)

    def end() -> None:
        os.read(came, 1)
        begin()
        time.sleep(END_S)
        os._exit(status)

    threading.Thread(target=end, name="end", daemon=True).start()
    signal.set_wakeup_fd(asks, warn_on_full_buffer=False)
    _install(lambda number, frame: None)


def run_command(command: Callable[[], object]) -> None:
    """Run a command that signals interrupt, and end the process with its exit status.

    The first signal raises KeyboardInterrupt in the command, so that it removes what it has written in part. It is
    raised again after `AGAIN_S`, since code in C may have swallowed it. Further signals are ignored for `BURST_S`. The
    exit status after a signal is `INTERRUPTED`, or 0 if the command takes a
    signal as its regular end.
    """
    last: float | None = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if last is None or time.monotonic() - last >= BURST_S:
            last = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
            raise KeyboardInterrupt

    status: object = 0
    try:
        _install(interrupt)
        signal.signal(signal.SIGALRM, interrupt)
        command()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except SystemExit as end:
        status = end.code
    ignore()
    exec("")  # if the exception left code of `exec`, as that of dataclasses, Python would kill itself: this forgets it
    if last is not None and status not in (0, None):
        status = INTERRUPTED
        timer = threading.Timer(END_S, os._exit, (status,))  # the interpreter waits for threads when it ends
        timer.daemon = True
        timer.start()
    sys.exit(status)  # type: ignore[arg-type]


def ignore() -> None:
    """Ignore all further signals, since the process is about to end."""
    for number in (*ENDING, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Yield a list to which signals add their numbers, in place of their usual effect.

    In threads other than the main one, signals keep their effect.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGALRM)}
    _install(lambda number, frame: came.append(number))
    signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _install(handler: Handler) -> None:
    """Install a handler for all signals that end a process."""
    _own.append(handler)
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, handler)


def _restore() -> None:
    """Give a forked process Python's own handlers, which libraries expect there."""
    for number in ENDING:
        if signal.getsignal(number) in _own:
            signal.set_wakeup_fd(-1)
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


os.register_at_fork(after_in_child=_restore)
