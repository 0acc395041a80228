"""The LightningModule of a segmentation model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core.data.loading import blanked
from mambaseg_core.data.sample import Batch
from mambaseg_core.evaluation.metrics import Scores, confusion_matrix
from mambaseg_core.labels import IGNORE
from mambaseg_core.training.config import OptimizerConfig, TrainConfig
from mambaseg_core.training.sampler import mixed_seed


class StepLoss(NamedTuple):
    """The loss of one forward pass, on its device, and where it came from.

    Attributes:
        loss: scalar.
        step: number of the step.
        samples: sequence, index and stamp in nanoseconds of each sample.
    """

    loss: Tensor
    step: int
    samples: tuple[tuple[str, int, int], ...]


class NonFiniteLossError(ValueError):
    """The loss is NaN or infinite.

    Attributes:
        found: this loss.
    """

    def __init__(self, found: StepLoss) -> None:
        names = ", ".join(f"{name}/{index}" for name, index, _ in found.samples)
        super().__init__(
            f"the loss is {float(found.loss)} at step {found.step}, batch {names}; expected a finite number: lower "
            "optimizer.lr, set optimizer.clip, or look at these samples"
        )
        self.found = found


_SCHEDULES: Final[dict[str, Callable[[float], float]]] = {
    "constant": lambda _: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "poly": lambda done: float((1.0 - done) ** 0.9),
}


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return the learning rate of step 0, 1, ..., steps - 1; a function needs no scheduler state in checkpoints."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * _SCHEDULES[config.schedule](done)


class SegmentationModule(lightning.LightningModule):
    """Cross-entropy with ignore 255, AdamW, and validation by confusion matrix.

    Random layers (dropout, drop path) are seeded before every forward pass from the seed, the pass's number and the
    process, so an interruption of the run does not change them.

    Args:
        model: returns logits [B, K, H, W] of image [B, C, H, W] and second input [B, T, H, W].
        config: configuration of the run.
        steps: steps of the whole run.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.steps = steps
        self.classes = int(model.num_classes)  # type: ignore[arg-type]
        self.scores: Scores | None = None
        self._confusion = torch.zeros(self.classes, self.classes, dtype=torch.int64)
        self._unread: list[StepLoss] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW; scales, biases and the scans' own parameters (fewer than two axes) have no weight decay.

        Its fused kernel updates all parameters in one call. Under autocast Lightning refuses to clip gradients with it.
        """
        config = self.config.optimizer
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=config.lr, fused=not self.config.loop.precision.endswith("-mixed"))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate of the step and the seed of the forward pass."""
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.config.optimizer, self.global_step, self.steps)
        loop = self.config.loop
        number = self.global_step * loop.accumulate + batch_idx % loop.accumulate
        torch.manual_seed(mixed_seed(loop.seed, number, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; its value is read later, as that waits for the device."""
        loss = self._loss(batch)[0]
        samples = tuple(zip(batch.sequence, batch.index, batch.stamp_ns, strict=True))
        self._unread.append(StepLoss(loss.detach(), self.global_step, samples))
        self.log("loss", loss.detach(), prog_bar=True)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def check_losses(self) -> None:
        """Check the losses since the last call, which waits for the device; call it before weights are saved.

        Raises:
            NonFiniteLossError: one is not finite; it has the first.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return
        finite = torch.stack([found.loss for found in unread]).isfinite().tolist()
        if not all(finite):
            raise NonFiniteLossError(unread[finite.index(False)])

    def on_validation_epoch_start(self) -> None:
        """Check the losses and reset the confusion matrix."""
        self.check_losses()
        self._confusion = torch.zeros(self.classes, self.classes, dtype=torch.int64, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the pixels of a batch to the confusion matrix."""
        _, logits = self._loss(batch)
        self._confusion += confusion_matrix(logits.argmax(1), batch.label, self.classes)

    def on_validation_epoch_end(self) -> None:
        """Compute the scores over the pixels of all processes."""
        confusion = self.trainer.strategy.reduce(self._confusion, reduce_op="sum")
        self.scores = Scores.of(confusion)
        self.log("miou", self.scores.miou, prog_bar=True, rank_zero_only=True)
        self.log("accuracy", self.scores.accuracy, rank_zero_only=True)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a `Batch` to a device; Lightning does not look inside this type."""
        return batch.to(device, non_blocking=True)

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        batch = blanked(batch, self.config.data.inputs)
        weight = self.config.loop.trust if self.training else 0.0
        trust: Tensor | float = 0.0
        if weight:
            logits, maps = self.model.with_reliability(batch.image, batch.second)  # type: ignore[operator]
            trust = trust_loss(maps, batch.covered)
        else:
            logits = self.model(batch.image, batch.second)
        # mean over the pixels that are not ignored; the clamp prevents NaN without any
        total = F.cross_entropy(logits.float(), batch.label, ignore_index=IGNORE, reduction="sum")
        return total / (batch.label != IGNORE).sum().clamp(min=1) + weight * trust, logits


def trust_loss(maps: tuple[Tensor, Tensor], covered: tuple[tuple[bool, bool], ...]) -> Tensor:
    """Return the binary cross-entropy of each input's mean reliability; the target is 0 if covered, else 1.

    Args:
        maps: reliability of the image and of the second input, [B, H, W] between 0 and 1.
        covered: (image, second) of each sample: True if augmentation covered or blanked that input.
    """
    means = torch.stack([one.float().mean((1, 2)) for one in maps], dim=1)
    sound = 1.0 - torch.tensor(covered, dtype=means.dtype, device=means.device)
    with torch.autocast(means.device.type, enabled=False):
        return F.binary_cross_entropy(means.clamp(1e-4, 1 - 1e-4), sound)


def parameters_of(module: SegmentationModule) -> dict[str, Any]:
    """Return the model's state dict on the CPU."""
    return {name: tensor.detach().cpu() for name, tensor in module.model.state_dict().items()}
