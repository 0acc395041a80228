"""The script for a GPU: all of it on the CPU, on a machine with little else than torch, and how it ends stages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from gpu_stages.plan import CALLS, STAGES, Stage, chosen
from gpu_stages.report import report
from gpu_stages.results import FILE, Run, append, read
from gpu_stages.runner import Settings, run_all

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WITHIN_S = {"first": 430, "second": 360}
# what a machine with a GPU alone does not have, and what belongs to ROS or to the command line
ABSENT = ("lz4", "rosbags", "hdf5plugin", "backports", "mcap", "lightning", "typer", "rich", "rclpy", "rcl_interfaces")
HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names} or name.startswith("mambaseg_ros.msg"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""
# in place of benchmarks/gpu.py: its stage `env` writes a row, has a child, and hangs
HANGING = """
import subprocess, sys, time
from pathlib import Path
from gpu_stages.results import FILE, append

out = Path(sys.argv[sys.argv.index("--out") + 1])
stage = sys.argv[sys.argv.index("--inside") + 1]
append(out / FILE, {"stage": stage, "what": "seen", "found": 1})
if stage == "env":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    (out / "child.new").write_text(str(child.pid))
    (out / "child.new").rename(out / "child")
    time.sleep(3600)
"""


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and is not waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def run_script(*words: object, cwd: Path, **around: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "AMENT_PREFIX_PATH")}
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env={**plain, **around}, capture_output=True, text=True, timeout=1700)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the script that hangs; stages find `gpu_stages` by PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))
    door = tmp_path / "door.py"
    door.write_text(HANGING)
    return door


@pytest.mark.slow
def test_both_calls_run_on_a_cpu_with_torch_and_little_else(tmp_path: Path) -> None:
    """From another folder, nothing installed: each stage writes rows, none fails, and the report has them all."""
    (tmp_path / "sitecustomize.py").write_text(HIDDEN.format(names=set(ABSENT)))
    words = (*CALLS, "--device", "cpu", "--tiny", "--out", "found", "--limit", 900)
    ended = run_script(*words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    rows = read(tmp_path / "found" / FILE)
    failed = [(row["failed"], row["error"]) for row in rows if "failed" in row]
    assert (ended.returncode, failed, ended.stderr) == (0, [], ""), ended.stdout
    for stage in STAGES:
        own = [row for row in rows if row.get("stage") == stage.name]
        assert [row["status"] for row in own if "status" in row] == ["started", "ok"], stage.name
        assert [row for row in own if "status" not in row], stage.name
    text = (tmp_path / "found" / "report.md").read_text()
    assert text.rstrip() == report(rows) == run_script("--report", f"found/{FILE}", cwd=tmp_path).stdout.rstrip()
    assert [line for line in text.splitlines() if line.startswith("### ")] == [
        f"### {stage.name}: {stage.what}" for stage in STAGES
    ]
    missing = next(row["found"] for row in rows if row.get("what") == "missing modules")
    assert {"lz4", "rosbags", "hdf5plugin", "backports.zstd", "rclpy"} <= set(missing.split(", "))
    left_out = {row["what"]: row["found"] for row in rows if str(row.get("what")).startswith("left out")}
    assert left_out["left out: test/node/messages/test_types.py"] == "No module named 'rosbags'"
    assert "mambaseg_nano" in (tmp_path / "found" / "profile.txt").read_text()


def test_a_stage_that_fails_leaves_its_traceback_and_the_next_one_runs(tmp_path: Path) -> None:
    ended = run_script(
        "smoke", "sanitize", "--device", "cuda", "--out", tmp_path, cwd=tmp_path, CUDA_VISIBLE_DEVICES=""
    )
    assert ended.returncode == 1
    rows = read(tmp_path / FILE)
    failures = [row for row in rows if "failed" in row]
    assert "scan" in [row["failed"] for row in failures]
    assert all("Traceback" in row["details"] and row["error"] for row in failures)
    ends = {row["stage"]: row["status"] for row in rows if row.get("status", "started") != "started"}
    assert ends["smoke"] == "failed (1)"
    assert "sanitize" in ends  # it fails where compute-sanitizer is installed
    assert "Traceback" in ended.stdout  # the end of what the stage printed


def test_a_stage_that_hangs_is_killed_with_its_children_and_the_next_one_runs(hanging: Path, tmp_path: Path) -> None:
    stages = [Stage("env", "first", 5, "", "hangs"), Stage("smoke", "first", 300, "", "ends")]
    assert run_all(stages, Settings(hanging, tmp_path, "cpu", tiny=True)) == 1
    assert [(row["stage"], row.get("status", "row")) for row in read(tmp_path / FILE)] == [
        ("env", "started"),
        ("env", "row"),
        ("env", "killed at its limit"),
        ("smoke", "started"),
        ("smoke", "row"),
        ("smoke", "ok"),
    ]
    until(lambda: not alive(int((tmp_path / "child").read_text())))


def test_the_stage_in_hand_ends_with_the_script(hanging: Path, tmp_path: Path) -> None:
    code = f"import sys; from pathlib import Path; from gpu_stages.main import main; main(Path({str(hanging)!r}), '')"
    process = subprocess.Popen([sys.executable, "-c", code, "env", "--out", str(tmp_path), "--limit", "3000"])
    try:
        until((tmp_path / "child").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 143
    finally:
        process.kill()
        process.wait()
    until(lambda: not alive(int((tmp_path / "child").read_text())))
    assert {"stage": "env", "what": "seen", "found": 1} in read(tmp_path / FILE)


def test_time_that_is_left_goes_to_the_next_stages_and_a_deadline_cuts_them(hanging: Path, tmp_path: Path) -> None:
    stages = [Stage(name, "first", 300, "", "ends") for name in ("smoke", "speed")]
    run_all(stages, Settings(hanging, tmp_path, "cpu", tiny=True))
    first, second = (row["limit_s"] for row in read(tmp_path / FILE) if "limit_s" in row)
    assert first == pytest.approx(300, abs=1)
    assert 300 < second < 600
    (tmp_path / FILE).unlink()
    run_all(stages, Settings(hanging, tmp_path, "cpu", tiny=True, deadline_s=1e-6))
    assert [row["status"] for row in read(tmp_path / FILE)] == ["skipped", "skipped"]


def test_the_limits_of_a_call_are_within_its_time_and_every_stage_is_there() -> None:
    for call, seconds in WITHIN_S.items():
        assert sum(stage.share_s for stage in chosen([call])) <= seconds
    assert [*chosen(["first"]), *chosen(["second"])] == list(STAGES)
    for stage in STAGES:
        assert callable(getattr(import_module(f"gpu_stages.{stage.module}"), stage.name))


def test_a_name_that_is_no_stage_is_refused(tmp_path: Path) -> None:
    ended = run_script("spede", "--out", tmp_path / "found", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("unknown stage 'spede'; expected one of first, second, agree, build, ")
    assert not (tmp_path / "found").exists()


def test_a_part_that_fails_does_not_end_the_stage(tmp_path: Path) -> None:
    run = Run("cpu", True, tmp_path, "speed")
    for name in ("bad", "good"):
        with run.part(name):
            run.add(model=name)
            assert name == "good", "one\nline"
    rows = read(tmp_path / FILE)
    assert [row.get("model") or row["failed"] for row in rows] == ["bad", "bad", "good"]
    assert rows[1]["error"].startswith("AssertionError: one line")
    assert run.failures == 1


def test_the_report_is_of_the_last_run_and_survives_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / FILE
    append(path, {"run": "2026-01-01 10:00", "device": "cuda", "tiny": False})
    for ms in (7.25, 3.5):
        append(path, {"stage": "speed", "status": "started", "limit_s": 65.0})
        append(path, {"stage": "speed", "model": "a|b", "eager_ms": ms, "same": True})
    append(path, {"stage": "speed", "model": "c", "eager_ms": None, "size": [440, 640]})
    append(path, {"stage": "speed", "table": "other", "peak_MiB": 1234.5})
    append(path, {"stage": "speed", "failed": "d", "error": "RuntimeError: no memory", "details": "..."})
    append(path, {"stage": "speed", "status": "killed at its limit", "seconds": 65.1})
    with path.open("a") as file:
        file.write('{"stage": "speed", "mod')
    assert report(read(path)).splitlines() == [
        "- run: 2026-01-01 10:00, device: cuda, tiny: no",
        "",
        "### speed: a frame through the network, batch 1",
        "",
        "status: killed at its limit, seconds: 65.1",
        "",
        "| model | eager ms | same | size |",
        "|---|---|---|---|",
        "| a\\|b | 3.5 | yes |  |",
        "| c |  |  | 440, 640 |",
        "",
        "other:",
        "",
        "| peak MiB |",
        "|---|",
        "| 1234 |",
        "",
        "Failed:",
        "",
        "- d: RuntimeError: no memory",
    ]
