"""What a run needs to go on exactly: one file of tensors and plain values, replaced as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from mambaseg_core.checkpoint import save_checkpoint


@dataclass(frozen=True)
class RunState:
    """A run after a step. Order and augmentation are functions of seed and step, and so need no state.

    Attributes:
        step: steps done.
        samples_per_step: of all processes together.
        weights: state dict of the model.
        optimizer: state dict of the optimizer.
        scaler: state dict of the loss scaling (16-mixed), else empty.
        best: best validation mIoU so far, -1 before the first.
    """

    step: int
    samples_per_step: int
    weights: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    best: float


def write_state(path: Path, state: RunState) -> None:
    """Write a state; the previous one is replaced only when all of the new one is on the disk.

    Raises:
        OSError: it cannot be written; names the file, and the previous one is as it was.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            torch.save(state.__dict__, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    _whole(path, write)


def read_state(path: Path) -> RunState:
    """Read a state; code in the file is never run.

    Raises:
        ValueError: missing, damaged, or no state of ours.
    """
    if not path.is_file():
        raise ValueError(f"run state {path} does not exist; expected one written by `mambaseg train`: start a new run")
    try:
        return RunState(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # the restricted unpickler raises whatever damaged bytes lead it to
        raise ValueError(
            f"run state {path} cannot be read ({type(error).__name__}); expected one written by `mambaseg train`: "
            "start a new run, with model.weights set to the run's last.safetensors"
        ) from error


def write_weights(path: Path, model: torch.nn.Module, preprocessing: Any) -> None:
    """`save_checkpoint`, with the same promise and the same error as `write_state`."""
    _whole(path, lambda _: save_checkpoint(path, model, preprocessing))


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with the temporary name of `path`, which it must rename; leave nothing behind if it fails."""
    temporary = path.with_name(path.name + ".part")
    try:
        write(temporary)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors wrap some of the system's errors
        temporary.unlink(missing_ok=True)
        raise OSError(
            f"checkpoint {path} cannot be written ({error}); the previous one is as it was: make room on the disk, "
            "then go on with --resume"
        ) from error
