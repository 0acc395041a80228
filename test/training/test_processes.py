"""The processes of a run: counted from the environment, awaited with an end, never for ever."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mambaseg_core.training.processes import Processes, find_processes

PREFIXES = ("SLURM_", "TORCHELASTIC_", "MASTER_")
NAMES = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK", "GROUP_RANK")
SLURM = {
    "SLURM_JOB_ID": "12345", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "localhost",
}  # fmt: skip
TORCHRUN = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}


def cleaned(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment without the variables of a launcher."""
    return {name: value for name, value in environment.items() if not name.startswith(PREFIXES) and name not in NAMES}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the variables of a launcher, and no others."""

    def put(variables: dict[str, str]) -> None:
        for name in set(os.environ) - set(cleaned(dict(os.environ))):
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, Processes(1, 1, "")),
        (SLURM, Processes(1, 2, "srun")),
        ({**SLURM, "SLURM_NNODES": "2", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4"}, Processes(2, 4, "srun")),
        ({"SLURM_NTASKS": "1"}, Processes(1, 1, "")),
        ({**SLURM, "SLURM_JOB_NAME": "interactive"}, Processes(1, 1, "")),
        ({**SLURM, "SLURM_JOB_NAME": "bash", "SLURM_STEP_NUM_TASKS": "1"}, Processes(1, 1, "")),
        (TORCHRUN, Processes(1, 2, "torchrun")),
        ({**TORCHRUN, "WORLD_SIZE": "4"}, Processes(2, 2, "torchrun")),
    ],
)
def test_processes_are_counted(given: Any, variables: dict[str, str], found: Processes) -> None:
    given(variables)
    assert find_processes() == found


WITHOUT_EACH = {name: value for name, value in SLURM.items() if name != "SLURM_NTASKS_PER_NODE"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (WITHOUT_EACH, r"asked for --ntasks=2 on 1 nodes; expected --ntasks-per-node=2"),
        ({**SLURM, "SLURM_NTASKS": "3", "SLURM_NNODES": "2"}, r"--ntasks=3 on 2 nodes; expected --ntasks-per-node,"),
        ({**SLURM, "SLURM_NTASKS": "two"}, r"SLURM_NTASKS is 'two'; expected a whole number"),
        (
            {**SLURM, "SLURM_JOB_NAME": "interactive", "SLURM_STEP_NUM_TASKS": "2"},
            r"srun started 2 processes in a job named 'interactive', where each is taken for a run of its own",
        ),
        ({"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "2"}, r"WORLD_SIZE is 3 and LOCAL_WORLD_SIZE 2; expected .* multiple"),
        ({"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "2"}, r"WORLD_SIZE is 1 and LOCAL_WORLD_SIZE 2"),
        ({"WORLD_SIZE": "0"}, r"WORLD_SIZE is '0'"),
    ],
)
def test_an_environment_that_contradicts_itself_is_refused(given: Any, variables: dict[str, str], message: str) -> None:
    given(variables)
    with pytest.raises(ValueError, match=message):
        find_processes()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (SLURM, r"SLURM_NTASKS is 2, but SLURM_PROCID, SLURM_LOCALID are not set; .* start with srun, or unset"),
        ({"WORLD_SIZE": "2"}, r"WORLD_SIZE is 2, but RANK, .* are not set; .* start with torchrun, or unset"),
    ],
)
def test_left_over_variables_are_named(given: Any, variables: dict[str, str], message: str) -> None:
    given(variables)
    with pytest.raises(ValueError, match=message):
        find_processes().environment()


MEET = """
import signal, sys, torch
from mambaseg_core.training.processes import find_processes, joined
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell's children ignore it
options = {"accelerator": "cpu", "wait_s": float(sys.argv[1]), "warn": lambda said: print(said, flush=True)}
try:
    with joined(find_processes(), **options):
        total = torch.ones(1)
        torch.distributed.all_reduce(total)
        print("processes:", int(total))
except ValueError as error:
    sys.exit(str(error))
"""


def start(wait_s: float, variables: dict[str, str]) -> subprocess.Popen[str]:
    environment = {**cleaned(dict(os.environ)), **variables}
    words = [sys.executable, "-c", MEET, str(wait_s)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def of_slurm(rank: int, port: str) -> dict[str, str]:
    return {**SLURM, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "MASTER_PORT": port}


def of_torchrun(rank: int, port: str) -> dict[str, str]:
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    return {**TORCHRUN, **own}


def test_processes_that_all_come_form_a_group() -> None:
    port = free_port()
    ranks = [start(120, of_torchrun(rank, port)) for rank in (1, 0)]
    for process in ranks:
        said, _ = process.communicate(timeout=300)
        assert "processes: 2" in said
        assert process.returncode == 0


def test_a_process_that_never_comes_is_not_awaited_for_ever() -> None:
    process = start(1, of_torchrun(0, free_port()))
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "only 1 of 2 processes came within 1 s; expected all: start torchrun on every machine" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("variables", "reason"),
    [({}, "refused"), ({"MASTER_ADDR": "192.0.2.1"}, "")],
    ids=["nobody listens", "unreachable"],
)
def test_a_first_process_out_of_reach_is_named(variables: dict[str, str], reason: str) -> None:
    process = start(1, {**of_torchrun(1, free_port()), **variables})
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    address = variables.get("MASTER_ADDR", "127.0.0.1")
    assert f"process 1 of 2 could not reach the first one at {address}:" in said
    assert reason in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = str(other.getsockname()[1])
        process = start(1, of_slurm(0, port))
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert f"port {port} cannot be opened" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(sign: signal.Signals) -> None:
    process = start(3600, of_slurm(0, free_port()))
    assert process.stdout is not None
    assert "only 1 of 2 processes have come so far; start them with srun" in process.stdout.readline()
    process.send_signal(sign)
    process.communicate(timeout=300)
    assert process.returncode == -sign


def test_two_processes_train_one_run(config_file: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "mambaseg_ros",
        "train",
        config_file,
        "--accelerator",
        "cpu",
        "--set",
        "loop.steps=2",
    ]
    words += ["--wait", "120", "--out", tmp_path / "run"]
    port, ranks = free_port(), []
    for rank in (0, 1):
        environment = {**cleaned(dict(os.environ)), **of_slurm(rank, port)}
        ranks.append(
            subprocess.Popen(map(str, words), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
    for process in ranks:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()
    assert '"processes": 2' in (tmp_path / "run" / "run.json").read_text()
