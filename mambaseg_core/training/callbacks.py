"""Callbacks of training: checkpoints, an orderly stop, and lines of metrics."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import RichProgressBar

from mambaseg_core.checkpoint import save_checkpoint
from mambaseg_core.files import disk_errors_of, write_text
from mambaseg_core.training.module import NonFiniteLossError, SegmentationModule, parameters_of
from mambaseg_core.training.state import RunState, write_state

STATE, LAST, BEST = "resume.pt", "last.safetensors", "best.safetensors"
METRICS, BAD_BATCH = "metrics.jsonl", "bad_batch.json"


class Bar(RichProgressBar):
    """Lightning's progress bar without its version number, as runs have none."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[str, Any] = {}

    def get_metrics(self, trainer: lightning.Trainer, pl_module: Any) -> dict[str, Any]:
        """Return the loss and the mIoU, read every `log_every` steps: each reading waits for the device."""
        if not self._shown or trainer.global_step % pl_module.config.loop.log_every == 0:
            read = super().get_metrics(trainer, pl_module)
            self._shown = {name: value for name, value in read.items() if name != "v_num"}
        return self._shown


class StoppedError(Exception):
    """A run stopped on a signal, after it saved its state."""


class StopRequest:
    """The user's (Ctrl-C) or the cluster's (SIGTERM) request to stop the run."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    @contextmanager
    def listen(self) -> Iterator[StopRequest]:
        """Record the first signal as a request; the second one has its usual effect on the process."""
        self.install()
        try:
            yield self
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def install(self) -> None:
        """Install the signal handlers; call again after Lightning installs its own, which stop without saving."""
        for number in self._before:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._before[signal.Signals(number)])


class Keeper(lightning.Callback):
    """Writes `resume.pt`, `last.safetensors` and `best.safetensors`, and stops the run on request.

    Args:
        folder: folder of the run.
        samples_per_step: samples of all processes together.
        stop: request to stop, checked after every step.
        best: best validation mIoU so far.
    """

    def __init__(self, folder: Path, *, samples_per_step: int, stop: StopRequest, best: float) -> None:
        self.folder = folder
        self.samples_per_step, self.stop, self.best = samples_per_step, stop, best
        self.saved_step = -1

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Listen for signals."""
        self.stop.install()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the state if it is due after a step; if a validation follows, save after that instead."""
        loop = pl_module.config.loop
        step = trainer.global_step
        if (batch_idx + 1) % loop.accumulate:
            return
        if self._asked_to_stop(trainer):
            self._stop(trainer, pl_module)
        validation_follows = (pl_module.steps - step) % validation_distance(pl_module) == 0
        if step % loop.checkpoint_every == 0 and not validation_follows:
            self.save(trainer, pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Save the state, and the weights as best if their mIoU is the highest so far."""
        scores = pl_module.scores
        if scores is not None and scores.miou > self.best:
            self.best = scores.miou
            if trainer.is_global_zero:
                save_checkpoint(self.folder / BEST, pl_module.model)
        self.save(trainer, pl_module)
        if self._asked_to_stop(trainer) and trainer.global_step < pl_module.steps:
            self._stop(trainer, pl_module)

    def on_exception(self, trainer: lightning.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Record the batch whose loss was not finite."""
        if isinstance(exception, NonFiniteLossError):
            found = exception.found
            record = {
                "error": str(exception),
                "step": found.step,
                "process": trainer.global_rank,
                "samples": [{"sequence": name, "index": n, "stamp_ns": stamp} for name, n, stamp in found.samples],
            }
            write_text(self.folder / BAD_BATCH, json.dumps(record, indent=2) + "\n")

    def _asked_to_stop(self, trainer: lightning.Trainer) -> bool:
        """Return whether any process has a request to stop; all processes return the same."""
        return bool(trainer.strategy.reduce_boolean_decision(self.stop.signal is not None, all=False))

    def _stop(self, trainer: lightning.Trainer, module: SegmentationModule) -> None:
        self.save(trainer, module)
        step = trainer.global_step
        raise StoppedError(f"stopped at step {step} of {module.steps}, as requested; --resume continues from there")

    def save(self, trainer: lightning.Trainer, module: SegmentationModule) -> None:
        """Write state and weights, in the first process only, after all losses so far were finite."""
        module.check_losses()
        step = trainer.global_step
        if step == self.saved_step or not trainer.is_global_zero:
            return
        state = RunState(
            step=step,
            samples_per_step=self.samples_per_step,
            weights=parameters_of(module),
            optimizer=trainer.optimizers[0].state_dict(),
            scaler=dict(trainer.precision_plugin.state_dict()),
            best=self.best,
        )
        write_state(self.folder / STATE, state)
        save_checkpoint(self.folder / LAST, module.model)
        self.saved_step = step


def validation_distance(module: SegmentationModule) -> int:
    """Return the number of steps between validations; they are counted back from the end of the run."""
    return min(module.config.loop.validate_every or module.steps, module.steps)


class MetricLines(lightning.Callback):
    """Appends lines of JSON to `metrics.jsonl`: the training metrics every `log_every` steps, and each validation."""

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        self.path, self.classes = folder / METRICS, classes
        self.began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the step's loss and learning rate, if all losses so far were finite."""
        loop = pl_module.config.loop
        if (batch_idx + 1) % loop.accumulate == 0 and trainer.global_step % loop.log_every == 0:
            pl_module.check_losses()
            lr = trainer.optimizers[0].param_groups[0]["lr"]
            loss = float(outputs["loss"].detach()) * loop.accumulate
            seconds = round(time.perf_counter() - self.began, 1)
            self._write(trainer, {"step": trainer.global_step, "loss": loss, "lr": lr, "seconds": seconds})

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write the scores."""
        scores = asdict(pl_module.scores)
        iou = dict(zip(self.classes, scores.pop("iou"), strict=True))
        self._write(trainer, {"step": trainer.global_step, "validation": {**scores, "iou": iou}})

    def _write(self, trainer: lightning.Trainer, values: dict[str, Any]) -> None:
        if trainer.is_global_zero:
            with disk_errors_of(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")


class Counters(lightning.Callback):
    """Sets Lightning's counters and the optimizer to the step where a run starts.

    Lightning itself would restore them from its own checkpoint, a pickle. Here a run is one long Lightning epoch, and
    each batch is a function of its number, so no other state is needed.

    Args:
        state: state of a resumed run; None for a new one.
    """

    def __init__(self, state: RunState | None) -> None:
        self.state = state

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Set the counters as if the earlier steps had been done here."""
        first, accumulate = 0, pl_module.config.loop.accumulate
        loop = trainer.fit_loop.epoch_loop
        if self.state is not None:
            first = self.state.step
            trainer.optimizers[0].load_state_dict(self.state.optimizer)
            if self.state.scaler:
                trainer.precision_plugin.load_state_dict(self.state.scaler)
        step = loop.automatic_optimization.optim_progress.optimizer.step
        step.total.ready = step.total.completed = loop._batches_that_stepped = first
        # Lightning validates when this count is a multiple of the distance; the end of the run must be one
        to_end = (pl_module.steps - first) * accumulate
        loop.batch_progress.total.ready = -to_end % (validation_distance(pl_module) * accumulate)


def cut_metrics(path: Path, step: int) -> None:
    """Drop the lines after a step; a resumed run writes them again."""
    if path.is_file():
        lines = [line for line in path.read_text().splitlines() if line and json.loads(line)["step"] <= step]
        write_text(path, "".join(line + "\n" for line in lines))
