"""The processes of a run, as torchrun or SLURM started them, and a wait for all of them that has an end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed import DistNetworkError, PrefixStore, Store, TCPStore, destroy_process_group, init_process_group  # type: ignore[attr-defined]

_PEER_S: Final = timedelta(minutes=30)  # longest wait for another process later on, torch's own default
_LOOK_S: Final = 0.1  # between two looks for the others
_QUIET_S: Final = 5.0  # until the wait is said
_SLURM: Final = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
_TORCHRUN: Final = ("RANK", "GROUP_RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # what Lightning knows torchrun by


@dataclass(frozen=True)
class Processes:
    """The processes of a run.

    Attributes:
        nodes: machines.
        devices: processes on each machine.
        launcher: "srun" or "torchrun"; empty for a single process.
    """

    nodes: int
    devices: int
    launcher: str

    @property
    def world(self) -> int:
        """The number of processes."""
        return self.nodes * self.devices

    def environment(self) -> ClusterEnvironment | None:
        """Return Lightning's view of the processes; None leaves it to Lightning.

        Raises:
            ValueError: variables that the launcher sets are missing.
        """
        if self.launcher == "srun":
            _require(_SLURM, self, "SLURM_NTASKS")
            return SLURMEnvironment(auto_requeue=False)
        if self.launcher == "torchrun":
            _require(_TORCHRUN, self, "WORLD_SIZE")
            return TorchElasticEnvironment()
        return LightningEnvironment() if SLURMEnvironment.detect() else None


def find_processes() -> Processes:
    """Return the processes of this run from the environment of SLURM or torchrun.

    Raises:
        ValueError: the environment does not say how many run on each machine, or contradicts itself.
    """
    if SLURMEnvironment.detect():
        return _of_slurm(_number("SLURM_NTASKS"), _number("SLURM_NNODES"))
    if (tasks := _number("SLURM_STEP_NUM_TASKS")) > 1 and SLURMEnvironment.job_name() and "RANK" not in os.environ:
        raise ValueError(
            f"srun started {tasks} processes in a job named {SLURMEnvironment.job_name()!r}, where each is taken for a "
            "run of its own; expected another name: set SLURM_JOB_NAME=train before srun"
        )
    world, local = _number("WORLD_SIZE"), _number("LOCAL_WORLD_SIZE")
    if world % local:
        raise ValueError(
            f"WORLD_SIZE is {world} and LOCAL_WORLD_SIZE {local}; expected the first to be a multiple of the second: "
            "start with torchrun, which sets both, or unset them"
        )
    return Processes(world // local, local, "torchrun" if world > 1 else "")


@contextmanager
def joined(processes: Processes, *, accelerator: str, wait_s: float, warn: Callable[[str], Any]) -> Iterator[None]:
    """Wait until all processes have come, and make them one process group; signals end the wait.

    Args:
        processes: as found by `find_processes`.
        accelerator: "auto", "cpu" or "gpu".
        wait_s: longest wait, seconds.
        warn: called with one sentence if the wait takes some seconds.

    Raises:
        ValueError: not all came in time, or the first cannot be reached.
    """
    environment = processes.environment()
    if processes.world == 1 or environment is None:
        yield
        return
    store = _meet(processes, environment, wait_s, warn)
    store.set_timeout(_PEER_S)
    backend = "nccl" if accelerator != "cpu" and torch.cuda.is_available() else "gloo"
    init_process_group(backend, store=store, rank=environment.global_rank(), world_size=processes.world)
    yield
    destroy_process_group()  # after an error the others may be gone, and the end of the process does it


def _of_slurm(tasks: int, nodes: int) -> Processes:
    if tasks > 1 and (tasks % nodes or "SLURM_NTASKS_PER_NODE" not in os.environ):
        each = f"--ntasks-per-node={tasks // nodes}" if tasks % nodes == 0 else "--ntasks-per-node"
        raise ValueError(
            f"SLURM was asked for --ntasks={tasks} on {nodes} nodes; expected {each}, which says how many processes "
            "each node has: ask for that in place of --ntasks"
        )
    return Processes(nodes, tasks // nodes, "srun") if tasks > 1 else Processes(1, 1, "")


def _number(name: str) -> int:
    """Return a positive number of the environment; 1 where it is absent."""
    text = os.environ.get(name, "1")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name} is {text!r}; expected a whole number above 0: correct or unset it")
    return int(text)


def _require(names: tuple[str, ...], processes: Processes, count: str) -> None:
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ValueError(
            f"{count} is {processes.world}, but {', '.join(missing)} are not set; expected all: start with "
            f"{processes.launcher}, or unset {count} for a run of one process"
        )


def _meet(processes: Processes, environment: ClusterEnvironment, wait_s: float, warn: Callable[[str], Any]) -> Store:
    """Return a store that all processes have signed."""
    rank, deadline = environment.global_rank(), time.monotonic() + wait_s
    hosts = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    port = environment.main_port
    store = _host(port) if hosts else _reach(environment.main_address, port, rank, processes, wait_s)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun's store outlives a restart
    store = PrefixStore(f"mambaseg{attempt}", store)
    store.set(f"came{rank}", "")
    quiet_until = time.monotonic() + _QUIET_S
    while (came := sum(store.check([f"came{number}"]) for number in range(processes.world))) < processes.world:
        hint = (
            "start them with srun, or unset SLURM_NTASKS for a run of one process"
            if processes.launcher == "srun"
            else "start torchrun on every machine"
        )
        if time.monotonic() > deadline:
            raise ValueError(
                f"only {came} of {processes.world} processes came within {wait_s:g} s; expected all: {hint}; --wait "
                "waits longer"
            )
        if time.monotonic() > quiet_until:
            warn(f"only {came} of {processes.world} processes have come so far; {hint}")
            quiet_until = deadline + 1
        time.sleep(_LOOK_S)
    return store


def _host(port: int) -> Store:
    try:
        return TCPStore("localhost", port, is_master=True, wait_for_workers=False)
    except DistNetworkError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"port {port} cannot be opened ({reason}); expected a free one: set MASTER_PORT") from error


def _reach(address: str, port: int, rank: int, processes: Processes, wait_s: float) -> Store:
    """Connect to the first process; Python's sockets look first, because torch waits without heeding signals."""
    deadline, reason = time.monotonic() + wait_s, "no answer"
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, port), timeout=2.0).close()
            return TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=wait_s))
        except (OSError, RuntimeError) as error:  # torch's errors are of the second kind
            reason = str(error).splitlines()[0]
        time.sleep(_LOOK_S)
    raise ValueError(
        f"process {rank} of {processes.world} could not reach the first one at {address}:{port} within {wait_s:g} s "
        f"({reason}); expected it to listen: check that it runs, MASTER_ADDR and MASTER_PORT; --wait waits longer"
    )
