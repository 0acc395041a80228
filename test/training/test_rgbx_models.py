"""The networks for two images learn in the same LightningModule as the others."""

from __future__ import annotations

import math

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from mambaseg_core.checkpoint import create_model
from mambaseg_core.data.sample import Batch
from mambaseg_core.training.config import parse_config
from mambaseg_core.training.module import SegmentationModule, trust_loss

VALUES = {
    "model": {"name": "sigma_tiny"},  # not used: the module receives its network
    "data": {"root": "nowhere"},
    "optimizer": {"lr": 3.0e-4, "schedule": "constant"},
    "loop": {"steps": 2},
}


def two_halves(model, size=(32, 32)):
    """Return a batch: left half class 0, brighter right half class 1 in both inputs, first rows not labeled."""
    random = torch.Generator().manual_seed(0)
    label = torch.zeros(2, *size, dtype=torch.int64)
    label[:, :, size[1] // 2 :] = 1
    image, other = (
        label[:, None] + 0.1 * torch.randn(2, channels, *size, generator=random)
        for channels in (model.in_channels, model.bins)
    )
    other[1] = 0  # like modality dropout
    label[:, :4] = 255
    return Batch(
        image, other, label, (0, 1), ("a", "a"), (0, 1), ("day", "day"), ((False, False), (False, True)), (0, 0)
    )


@pytest.mark.parametrize("name", ["sigma_tiny", "rsgmamba"])
def test_two_steps_lower_the_loss(name):
    torch.manual_seed(0)
    model = create_model(name, num_classes=2, image_size=(32, 32))
    module = SegmentationModule(model, parse_config(VALUES, {}), steps=2)
    batch = two_halves(model)
    before = {key: x.detach().clone() for key, x in model.named_parameters()}
    with torch.no_grad():
        first = module.eval()._loss(batch)[0]
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module.train(), DataLoader([batch, batch], batch_size=None))
    with torch.no_grad():
        last = module.eval()._loss(batch)[0]
    assert trainer.global_step == 2
    assert last < first
    assert not [key for key, x in model.named_parameters() if torch.equal(x, before[key])]


def test_the_loss_of_trust_by_value():
    maps = torch.tensor([[0.9, 0.2], [0.5, 0.0]])[..., None, None].expand(2, 2, 3, 4)
    found = trust_loss((maps[0], maps[1]), ((False, False), (True, True)))
    expected = -(math.log(0.9) + math.log(0.5) + math.log(0.8) + math.log(1 - 1e-4)) / 4
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_trust_teaches_distrust_of_what_is_covered():
    """Train twenty steps on one batch, in which the second sample's second input is covered by noise."""
    torch.manual_seed(0)
    model = create_model("mambaseg_nano", num_classes=2, image_size=(32, 32), reliability=True)
    changes = {"loop.trust": 1.0, "optimizer.lr": 2e-3}
    module = SegmentationModule(model, parse_config(VALUES, changes), steps=20)
    batch = two_halves(model)
    batch.second[1] = 0.05 + 0.02 * torch.randn(batch.second[1].shape, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(20):
        optimizer.zero_grad()
        module.train()._loss(batch)[0].backward()
        optimizer.step()
    with torch.no_grad():
        other = model.eval().reliability(batch.image, batch.second)[1].mean((1, 2))
    assert other[0] > 0.5 > other[1]
