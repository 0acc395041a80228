"""State of a run for exact resumption: one file of tensors and plain values, replaced atomically."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mambaseg_core.files import atomic_path


@dataclass(frozen=True)
class RunState:
    """State of a run after a step. Order and augmentation are functions of seed and step, so they need no state.

    Attributes:
        step: steps done.
        samples_per_step: samples of all processes together.
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
    """Write a state; the previous one is replaced only when the new one is completely on disk.

    Raises:
        WriteError: the state cannot be written; the previous one is unchanged.
    """
    with atomic_path(path) as part, part.open("wb") as file:
        try:
            torch.save(state.__dict__, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch wraps it in an error of its own
                raise error.__context__ from None
            raise


def read_state(path: Path) -> RunState:
    """Read a state; code in the file is never executed.

    Raises:
        ValueError: the file is missing, is damaged, or is no state of `mambaseg train`.
    """
    if not path.is_file():
        raise ValueError(f"run state {path} does not exist; expected one written by `mambaseg train`: start a new run")
    try:
        return RunState(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # on damaged bytes, the restricted unpickler raises any exception
        raise ValueError(
            f"run state {path} cannot be read ({type(error).__name__}); expected one written by `mambaseg train`: "
            "start a new run, with model.weights set to the run's last.safetensors"
        ) from error
