"""Tasks in processes: a process that is killed is said, and ends the wait; Ctrl-C ends all in silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mambaseg_core.synth.processes import in_processes


def die(task: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_said() -> None:
    with pytest.raises(ValueError, match=r"one of 1 processes was killed, .*: repeat with fewer jobs"):
        in_processes(die, [0, 1], jobs=1, before=0, progress=None)


SCRIPT = """
import signal, sys, time
from pathlib import Path
from mambaseg_core.files import atomic_path
from mambaseg_core.synth.processes import in_processes

def write(path):
    with atomic_path(path) as part:
        part.write_text("half")
        time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    folder = Path(sys.argv[1])
    try:
        in_processes(write, [folder / str(number) for number in range(9)], jobs=2, before=0, progress=None)
    except KeyboardInterrupt:
        print("stopped")
"""


def test_ctrl_c_ends_all_processes_and_what_they_wrote_in_part(tmp_path: Path) -> None:
    script, folder = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT)
    folder.mkdir()
    words = [sys.executable, script, folder]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while len([path for path in folder.rglob("*") if path.is_file()]) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        output, _ = child.communicate(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    assert output == "stopped\n"
    assert list(folder.iterdir()) == []
