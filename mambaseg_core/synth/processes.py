"""Long tasks in several processes, with progress reports."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Progress = Callable[[int, int], None]
"""Called with the number of tasks done and the number of all tasks."""

Task = TypeVar("Task")


def in_processes(
    write: Callable[[Task], None], tasks: Sequence[Task], *, jobs: int, before: int, progress: Progress | None
) -> None:
    """Call `write` with each task in some processes; the first error, or Ctrl-C, stops all.

    A process that is stopped raises SystemExit in its task, so that it removes what it has written in part.

    Args:
        write: a function at a module's top level.
        tasks: objects that can be pickled.
        jobs: number of processes.
        before: number of tasks done before.
        progress: called with tasks done and tasks in all.

    Raises:
        ValueError: `jobs` is below 1, or a process was killed.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, expected 1 or more processes; raise it")
    report = progress or (lambda done, total: None)
    total, done = before + len(tasks), before
    report(done, total)
    others, spawn = multiprocessing.active_children(), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_exit_at_sigterm) as pool:
        with _sigint_ignored():
            futures = [pool.submit(_run, write, task) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                report(done, total)
        except BrokenProcessPool as error:
            raise ValueError(
                f"one of {jobs} processes was killed, as the system does when memory runs out; expected all to end: "
                "repeat with fewer jobs"
            ) from error
        except BaseException:
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


def _run(write: Callable[[Task], None], task: Task) -> None:
    try:
        write(task)
    except SystemExit:
        os._exit(1)  # with what it wrote removed, and without a further task


def _exit_at_sigterm() -> None:
    """Raise SystemExit at the first SIGTERM, once."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(1)

    signal.signal(signal.SIGTERM, end)


@contextmanager
def _sigint_ignored() -> Iterator[None]:
    """Ignore SIGINT, as do the processes started meanwhile: a terminal sends it to all, and one has to act."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
