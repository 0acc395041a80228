"""Tasks in processes: a process that is killed is said, and ends the wait."""

from __future__ import annotations

import os
import signal

import pytest

from mambaseg_core.synth.processes import in_processes


def die(task: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_said() -> None:
    with pytest.raises(ValueError, match=r"one of 1 processes was killed, .*: repeat with fewer jobs"):
        in_processes(die, [0, 1], jobs=1, before=0, progress=None)
