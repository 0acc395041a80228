"""Long tasks in several processes, with progress reports."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Progress = Callable[[int, int], None]
"""Called with the number of tasks done and the number of all tasks."""

Task = TypeVar("Task")


def in_processes(
    write: Callable[[Task], None], tasks: Sequence[Task], *, jobs: int, before: int, progress: Progress | None
) -> None:
    """Call `write` with each task in some processes; the first error stops all.

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
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(write, task) for task in tasks]
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
            pool.shutdown(cancel_futures=True)
            raise
