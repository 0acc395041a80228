"""A training run: from a configuration to a folder with weights, metrics and the state to resume from."""

from __future__ import annotations

import json
import platform
import subprocess
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import lightning
import torch
import yaml
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

from mambaseg_core.checkpoint import create_model, load_checkpoint, load_weights, weights_file
from mambaseg_core.data.dataset import SampleDataset
from mambaseg_core.data.loading import evenly, open_dataset, plain_loader
from mambaseg_core.data.sample import Sample, collate
from mambaseg_core.files import disk_errors_of, write_text
from mambaseg_core.models.presets import preprocessing_of
from mambaseg_core.models.released.imagenet import load_vmamba_imagenet
from mambaseg_core.precision import allow_tf32, why_slow
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_core.tensor_files import read_tensors
from mambaseg_core.training.callbacks import (
    BEST,
    LAST,
    METRICS,
    STATE,
    Bar,
    Counters,
    Keeper,
    MetricLines,
    StopRequest,
    cut_metrics,
    validation_distance,
)
from mambaseg_core.training.config import TrainConfig, parse_config
from mambaseg_core.training.data import make_preprocessing, make_transform
from mambaseg_core.training.module import SegmentationModule
from mambaseg_core.training.processes import find_processes, joined
from mambaseg_core.training.sampler import StepSampler
from mambaseg_core.training.state import RunState, read_state

CONFIG, RUN = "config.yaml", "run.json"
_NAMES: Final = {"32-true": "float32", "tf32": "tf32", "bf16-mixed": "bfloat16", "16-mixed": "float16"}
# The rows that are cut are compared with those of the weights: a run of an earlier version says nothing of them.
_MAY_CHANGE: Final = (
    "data.root",
    "data.workers",
    "data.cache",
    "data.crop_bottom",
    "loop.checkpoint_every",
    "loop.log_every",
)


@dataclass(frozen=True)
class TrainingResult:
    """Result of a finished run.

    Attributes:
        last: checkpoint of the last step.
        best: checkpoint of the best validation.
        miou: validation mIoU of the last step, 0 to 1.
    """

    last: Path
    best: Path
    miou: float


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    accelerator: str = "auto",
    progress: bool = True,
    wait_s: float = 30.0,
    warn: Callable[[str], Any] = warnings.warn,
) -> TrainingResult:
    """Train a model, or resume an interrupted run.

    Args:
        config: configuration of the run.
        folder: folder of the run; created if missing.
        resume: resume the run in `folder` if there is one.
        accelerator: "auto", "cpu" or "gpu".
        progress: whether to draw a progress bar.
        wait_s: longest wait for the other processes of the run, seconds.
        warn: called with one sentence if `loop.precision` makes this machine slower, or other processes are late.

    Raises:
        ValueError: the configuration does not fit the data or the run in `folder`, weights do not fit the model, not
            all processes came, or the loss became NaN.
        OSError: a checkpoint cannot be written.
        StoppedError: the run stopped on a signal and can be resumed.
    """
    data = config.data
    setup = make_preprocessing(data)
    opened = partial(open_dataset, data.layout, data.root, cache=data.cache, registered=data.registered)
    training = opened("train", setup, make_transform(data), image_age_ns=round(1e6 * data.image_age_ms))
    validation = opened("test", setup)
    state = _enter(folder, config, setup, resume=resume)
    model = build_model(config, setup, warn)
    if state is not None:
        model.load_state_dict(state.weights)
    processes = find_processes()
    per_step = config.loop.batch * config.loop.accumulate * processes.world
    steps = config.loop.steps or max(1, round(config.loop.epochs * len(training) / per_step))
    _check_state(state, per_step)
    module = SegmentationModule(model, config, steps)
    first, best = (0, -1.0) if state is None else (state.step, state.best)
    bar = [Bar()] if progress else []
    with (
        joined(processes, accelerator=accelerator, wait_s=wait_s, warn=warn),
        StopRequest().listen() as stop,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=".*does not have many workers|`isinstance.treespec")
        keeper = Keeper(folder, samples_per_step=per_step, stop=stop, best=best)
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=processes.devices,
            num_nodes=processes.nodes,
            strategy="ddp" if processes.world > 1 else "auto",
            plugins=processes.environment(),
            max_steps=steps,
            val_check_interval=validation_distance(module) * config.loop.accumulate,
            callbacks=[Counters(state), MetricLines(folder, setup.label_set.classes), keeper, *bar],
            enable_progress_bar=progress,
            log_every_n_steps=min(config.loop.log_every, steps),
            **_fixed(config, folder),
        )
        _refuse_tf32_on_cpu(config, trainer.strategy.root_device)
        if trainer.is_global_zero:
            _write_run(folder, config, trainer, steps, state)
            _warn_of_precision(config, trainer.strategy.root_device, warn)
        if first < steps:
            loaders = _loaders(config, training, validation, trainer, first=first, steps=steps)
            with disk_errors_of(folder), allow_tf32(config.loop.precision == "tf32"):  # TensorBoard names no file
                trainer.fit(module, *loaders)
    return TrainingResult(folder / LAST, folder / BEST, _last_miou(folder / METRICS))


def build_model(config: TrainConfig, setup: Preprocessing, warn: Callable[[str], Any] = warnings.warn) -> nn.Module:
    """Build the network of a configuration with its first weights, drawn by the seed or loaded from a checkpoint.

    Args:
        config: Of the run.
        setup: The run's preprocessing, which becomes the model's whatever the checkpoint has.
        warn: Called with one sentence if the checkpoint's preprocessing is another.

    Raises:
        ValueError: the network is unknown, cannot take the crops, lacks the requested reliability, or the weights do
            not fit it.
    """
    torch.manual_seed(config.loop.seed)
    model = create_model(
        config.model.name,
        num_classes=len(setup.label_set.classes),
        image_size=setup.size,
        in_channels=setup.channels,
        reliability=config.model.reliability,
    )
    if model.bins != setup.bins:
        key = "data.second_channels" if setup.second != "events" else "the preset's bins"
        raise ValueError(
            f"{config.model.name} takes {model.bins} channels of {setup.second}, but {key} is {setup.bins}; expected "
            f"the same number: set it to {model.bins}, or choose another model"
        )
    if config.loop.trust and not getattr(model, "reliability_aware", False):
        raise ValueError(
            f"loop.trust is {config.loop.trust:g}, but {config.model.name} has no reliability output; expected "
            "rsgmamba, or a MambaSeg with model.reliability: choose one of these, or leave loop.trust out"
        )
    crop = config.data.crop
    if crop not in (None, setup.size) and not model.any_size:
        raise ValueError(
            f"data.crop is {list(crop or ())} and data.size {list(setup.size)}, but {config.model.name} takes one size "
            "only: leave data.crop out, or give it data.size"
        )
    if config.model.imagenet:
        load_vmamba_imagenet(model, read_tensors(config.model.imagenet), warn=warn)
    if config.model.weights:
        load_weights(model, weights_file(config.model.name, config.model.weights), warn=warn)
        _warn_of_preprocessing(config.model.weights, preprocessing_of(model), setup, warn)
    model.preprocessing = setup
    return model


def _warn_of_preprocessing(weights: str, before: Preprocessing, now: Preprocessing, warn: Callable[[str], Any]) -> None:
    """Warn if weights to start from were trained on something else than the run's configuration asks for."""
    if changed := _differences(before, replace(now, size=before.size, view_size=before.view_size)):
        warn(f"{weights} was trained with {'; '.join(changed)}: if that is not meant, change the section data")


def _differences(before: Preprocessing, now: Preprocessing) -> list[str]:
    """Return what is different now, such as "bins 10, now 3"."""
    return [
        f"{field.name} {getattr(before, field.name)!r}, now {getattr(now, field.name)!r}"
        for field in fields(Preprocessing)
        if getattr(before, field.name) != getattr(now, field.name)
    ]


def _enter(folder: Path, config: TrainConfig, setup: Preprocessing, *, resume: bool) -> RunState | None:
    """Return the state of the run in the folder; None for a new run."""
    if not (folder / STATE).is_file():
        return None
    if not resume:
        raise ValueError(f"{folder} holds a run already; expected a new folder: choose another, or give --resume")
    stored = parse_config(yaml.safe_load((folder / CONFIG).read_text()), {}).to_dict()
    for section, values in config.to_dict().items():
        for key, value in values.items():
            if value != stored[section][key] and f"{section}.{key}" not in _MAY_CHANGE:
                raise ValueError(
                    f"{section}.{key} is {value!r}, but the run in {folder} has {stored[section][key]!r}; expected the "
                    "same: resume with the run's own config.yaml, or choose another folder"
                )
    if (folder / LAST).is_file() and (changed := _differences(load_checkpoint(folder / LAST)[1], setup)):
        raise ValueError(
            f"the run in {folder} was trained with {'; '.join(changed)}; expected the same: set that key of the "
            "section data, such as data.crop_bottom, or choose another folder"
        )
    state = read_state(folder / STATE)
    cut_metrics(folder / METRICS, state.step)
    return state


def _check_state(state: RunState | None, per_step: int) -> None:
    if state is not None and state.samples_per_step != per_step:
        raise ValueError(
            f"the run had {state.samples_per_step} samples per step and would resume with {per_step}; expected the "
            "same number: start as many processes as before"
        )


def _refuse_tf32_on_cpu(config: TrainConfig, device: torch.device) -> None:
    if config.loop.precision == "tf32" and device.type == "cpu":
        raise ValueError("loop.precision is 'tf32' on the device 'cpu'; expected '32-true' or 'bf16-mixed' there")


def _warn_of_precision(config: TrainConfig, device: torch.device, warn: Callable[[str], Any]) -> None:
    slow = why_slow(_NAMES[config.loop.precision], device)
    if slow:
        warn(f"loop.precision is {config.loop.precision!r}, but {slow}: use '32-true'")


def _fixed(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Return the Trainer's arguments of every run: one long epoch, our checkpoints and our order of the samples."""
    return {
        "precision": "32-true" if config.loop.precision == "tf32" else config.loop.precision,
        "max_epochs": 1,
        "accumulate_grad_batches": config.loop.accumulate,
        "gradient_clip_val": config.optimizer.clip or None,
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "logger": TensorBoardLogger(folder, name="", version="tensorboard"),
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }


def _loaders(
    config: TrainConfig,
    training: SampleDataset,
    validation: SampleDataset,
    trainer: lightning.Trainer,
    *,
    first: int,
    steps: int,
) -> tuple[DataLoader[Sample], DataLoader[Sample]]:
    loop, workers = config.loop, config.data.workers
    sampler = StepSampler(
        len(training),
        seed=loop.seed,
        batch=loop.batch,
        accumulate=loop.accumulate,
        first_step=first,
        steps=steps,
        rank=trainer.global_rank,
        world=trainer.world_size,
    )
    pinned = trainer.accelerator.__class__.__name__ == "CUDAAccelerator"
    numbers = evenly(len(validation), loop.validate_samples)[trainer.global_rank :: trainer.world_size]
    return (
        DataLoader(training, batch_sampler=sampler, num_workers=workers, collate_fn=collate, pin_memory=pinned),
        plain_loader(validation, numbers, batch=loop.batch, workers=workers),
    )


def _write_run(
    folder: Path, config: TrainConfig, trainer: lightning.Trainer, steps: int, state: RunState | None
) -> None:
    """Write the configuration, and the machine and code of the run; a resumed run adds an entry."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, yaml.safe_dump(config.to_dict(), sort_keys=False))
    path = folder / RUN
    starts = json.loads(path.read_text())["starts"] if state is not None and path.is_file() else []
    starts.append({"step": 0 if state is None else state.step, **_code_and_machine(trainer)})
    write_text(path, json.dumps({"seed": config.loop.seed, "steps": steps, "starts": starts}, indent=2) + "\n")


def _code_and_machine(trainer: lightning.Trainer) -> dict[str, Any]:
    root = Path(__file__).parents[2]
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    commit = None
    if (root / ".git").exists():
        with suppress(OSError, subprocess.TimeoutExpired):  # no git, or a folder of the network that does not answer
            commit = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    try:
        installed: str | None = version("mambaseg")
    except PackageNotFoundError:  # in the source tree, whose commit is recorded instead
        installed = None
    return {
        "mambaseg": installed,
        "commit": commit,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "python": platform.python_version(),
        "processes": trainer.world_size,
        "device": trainer.strategy.root_device.type,
    }


def _last_miou(path: Path) -> float:
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    scores = [line["validation"]["miou"] for line in found if "validation" in line]
    return float(scores[-1]) if scores else float("nan")
