"""The cores that a process may use, and the threads of a frame."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from mambaseg_ros import cores
from mambaseg_ros.cores import allowed_cores, choose_threads, prepare_command, too_many, use_threads


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 cores on which the user has set nothing, and the number of threads after the test."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def system(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    """Write /proc/self/cgroup and files of /sys/fs/cgroup."""
    for name, text in {"proc/self/cgroup": cgroup, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def version_1(group: str, quota_us: int) -> dict[str, str]:
    return {f"{group}/cpu.cfs_quota_us": f"{quota_us}\n", f"{group}/cpu.cfs_period_us": "100000\n"}


DOCKER = "/docker/0123"


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),  # docker run --cpus 2
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {}, 64),  # the root group of a machine without containers
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),  # set above
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "150000 100000\n"}, 1),
        ("0::/a\n", {"a/cpu.max": "50000 100000\n"}, 1),  # less than one core
        ("0::/a\n", {"a/cpu.max": "6400000000 100000\n"}, 64),  # more than the machine has
        ("0::/../host\n", {"cpu.max": "200000 100000\n"}, 2),  # of a group outside this name space
        (f"4:cpu,cpuacct:{DOCKER}\n", version_1("cpu,cpuacct", 400000), 4),
        (f"4:cpu:{DOCKER}\n", version_1(f"cpu{DOCKER}", -1), 64),
        ("4:cpuset:/\n3:memory:/x\n", version_1("cpu", 100000), 64),
        ("0::/\n", {"cpu.max": "garbage\n"}, 64),
        ("0::/\n", {"cpu.max": "100000 0\n"}, 64),
        ("garbage\n", {"cpu.max": "100000 100000\n"}, 64),
    ],
)  # fmt: skip
def test_a_quota_limits_the_cores(tmp_path: Path, cgroup: str, files: dict[str, str], expected: int) -> None:
    assert allowed_cores(system(tmp_path, cgroup, files)) == expected


def test_affinity_limits_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7})
    assert allowed_cores(tmp_path) == 2  # no control groups at all
    assert allowed_cores(system(tmp_path, "0::/\n", {"cpu.max": "400000 100000"})) == 2


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [
        (0, None, 3),
        (3, None, 3),
        (0, "5", 5),
        (3, "5", 3),
        (0, "4,2", 4),
        (0, "0", 3),
        (0, "many", 3),
        (0, "", 3),
    ],
)
def test_threads_are_the_parameter_the_environment_or_all_cores_but_one(
    monkeypatch: pytest.MonkeyPatch, asked: int, given: str | None, expected: int
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: 4)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert choose_threads(asked) == expected


@pytest.mark.parametrize(("number", "node", "offline"), [(1, 1, 1), (2, 2, 2), (3, 2, 3), (64, 63, 64)])
def test_of_one_or_two_cores_none_is_spared(
    monkeypatch: pytest.MonkeyPatch, number: int, node: int, offline: int
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: number)
    assert choose_threads(0) == node
    assert choose_threads(0, spare=0) == offline


def test_more_threads_than_cores_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        cores.allowed_cores, "__defaults__", (system(tmp_path, "0::/\n", {"cpu.max": "200000 100000"}),)
    )
    assert too_many(2) == ""
    assert "on 8 threads, but this process may use 2 of" in too_many(8)


def test_the_command_heeds_a_quota_and_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores.allowed_cores, "__defaults__", (system(tmp_path, "0::/\n", {}),))
    prepare_command()
    assert "OMP_NUM_THREADS" not in os.environ  # OpenMP knows cores and affinity itself
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("250000 100000\n")
    prepare_command()
    assert os.environ.pop("OMP_NUM_THREADS") == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    prepare_command()
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_each_thread_keeps_its_own_number() -> None:
    """As two cameras of one process may ask for different numbers."""
    before, before_cv2, found, both = torch.get_num_threads(), cv2.getNumThreads(), {}, threading.Barrier(2)

    def work(asked: int) -> None:
        use_threads(asked)
        both.wait(timeout=60)
        found[asked] = torch.get_num_threads()

    threads = [threading.Thread(target=work, args=(asked,)) for asked in (1, 2)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {1: 1, 2: 2}
        assert use_threads(2) == cv2.getNumThreads() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(before_cv2)


FRAMES = """
import sys, mambaseg_ros.cores as cores
assert not {"torch", "numpy"} & set(sys.modules)
import os, threading, time
os.environ.update(cores.node_environment())
import mambaseg_core as mc
from mambaseg_ros.cores import use_threads

def cpu_ns():
    tasks = "/proc/self/task"
    return {task: int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks)}

def frames(number):
    noise = segmenter._noise(__import__("numpy").random.default_rng(0))
    for _ in range(number):
        segmenter.segment(*noise)

use_threads(0)
segmenter = mc.Segmenter(mc.create_model("mambaseg_nano", image_size=(120, 160)), "cpu")
use_threads(int(sys.argv[1]))
segmenter.warm_up()
done, measured = [threading.Event() for _ in range(2)]

def work():
    use_threads(int(sys.argv[1]))
    frames(2)
    before, start, cpu = cpu_ns(), time.monotonic(), time.process_time()
    frames(10)
    cpu, wall, after = time.process_time() - cpu, time.monotonic() - start, cpu_ns()
    shares = [(after[task] - before.get(task, 0)) / 1e9 / cpu for task in after]
    print(sum(share > 0.01 for share in shares), cpu / wall)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_frame_stays_within_its_threads(threads: int) -> None:
    """In a process of its own, as the node is: torch's, OpenMP's, MKL's, OpenCV's and NumPy's threads together."""
    clean = {name: value for name, value in os.environ.items() if name[:4] not in ("OMP_", "MKL_", "OPEN")}
    command = [sys.executable, "-c", FRAMES, str(threads)]
    done: Any = subprocess.run(command, env=clean, capture_output=True, text=True, check=True, timeout=300)
    busy, cores_used = done.stdout.split()
    assert int(busy) <= threads
    assert float(cores_used) <= threads + 0.1


def test_the_node_starts_no_thread_for_each_core() -> None:
    """NumPy and OpenCV bring an OpenBLAS each, which starts its threads when it is imported."""
    code = (
        "import os, mambaseg_ros.cores as cores; os.environ.update(cores.node_environment()); import mambaseg_core\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    clean = {name: value for name, value in os.environ.items() if name[:4] not in ("OMP_", "MKL_", "OPEN")}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]
