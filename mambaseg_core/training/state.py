"""What a run needs to go on exactly: one file of tensors and plain values, replaced as a whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mambaseg_core.files import atomic_path


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
        WriteError: it cannot be written; the previous one is as it was.
    """
    with atomic_path(path) as part, part.open("wb") as file:
        try:
            torch.save(state.__dict__, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # which torch hides behind one of its own
                raise error.__context__ from None
            raise


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
