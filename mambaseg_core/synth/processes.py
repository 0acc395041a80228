"""Long tasks in several processes, with a report of how many are done."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Progress = Callable[[int, int], None]
"""Called with what is done, and with all there is."""

Task = TypeVar("Task")


def in_processes(
    write: Callable[[Task], None], tasks: Sequence[Task], *, jobs: int, before: int, progress: Progress | None
) -> None:
    """Call `write` with each task in some processes; the first error ends all.

    Args:
        write: a function of a module.
        tasks: can be pickled.
        jobs: processes.
        before: tasks that were done before.
        progress: called with tasks done and tasks in all.

    Raises:
        ValueError: no processes.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, expected 1 or more processes")
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
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
