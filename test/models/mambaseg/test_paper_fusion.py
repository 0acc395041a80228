"""The fusion of our own networks, against results computed by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mambaseg_core.models.layers import init_linear_by_width
from mambaseg_core.models.mambaseg.paper_fusion import JointCSIM, SharedCTIM, ThreeWeights
from mambaseg_core.models.mambaseg.sum_head import SumHead


class EchoScan(nn.Module):
    """Stands in for a bidirectional scan whose result is its input, each direction in its own order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return torch.stack((x, x.flip(-1)), dim=1)


@pytest.fixture
def ctim() -> SharedCTIM:
    """Four channels in two steps, a grid of 1 x 2 regions, every projection the identity."""
    module = SharedCTIM(16, steps=2, regions=(1, 2), state=2)
    for name in ("in_image", "in_events", "norm", "out_image", "out_events"):
        setattr(module, name, nn.Identity())
    module.scan = EchoScan()
    return module


def test_the_steps_of_both_streams_are_interleaved(ctim):
    image = torch.arange(1.0, 33).reshape(1, 1, 2, 16)
    ctim._scan_steps(image, -image)
    seen = ctim.scan.seen
    assert seen.shape == (2, 8, 4)  # a sequence of each region: 8 channels, image 0, events 0, image 1, events 1
    for region, values in enumerate(image[0, 0]):
        first, second = values.chunk(2)
        expected = torch.stack((first, -first, second, -second), dim=-1)
        torch.testing.assert_close(seen[region], F.silu(expected))


def test_both_directions_come_back_in_their_place(ctim):
    image, events = torch.randn(2, 3, 1, 2, 16)
    new_image, new_events = ctim._scan_steps(image, events)
    torch.testing.assert_close(new_image, 2 * F.silu(image))
    torch.testing.assert_close(new_events, 2 * F.silu(events))


def test_one_stream_speaks_to_the_other_in_time():
    torch.manual_seed(0)
    module = SharedCTIM(16, steps=4, regions=(2, 2), state=4)
    image, events = torch.randn(2, 1, 5, 7, 16)
    before = module._scan_steps(image[:, :2, :2], events[:, :2, :2])[0]
    after = module._scan_steps(image[:, :2, :2], events[:, :2, :2] + 1)[0]
    assert (before - after).abs().amax((0, 1, 2)).gt(0).all()


def test_three_weights_are_of_image_events_and_both():
    module = ThreeWeights()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        # middle taps only: hidden k reads map k; the weight of image, events, both reads its own maximum
        module.conv1.weight[:6, :, 1, 1] = torch.eye(6)
        for stream in range(3):
            module.conv2.weight[stream, 2 * stream + 1] = 1.0
    streams = [torch.tensor([[[[low, high]]]]) for low, high in ((0.0, 1.0), (1.0, 2.0), (-4.0, 3.0))]
    weights = [x.item() for x in module(*streams)]
    assert weights == pytest.approx(torch.tensor([1.0, 2.0, 3.0]).sigmoid().tolist())


def test_the_spatial_path_reads_the_other_stream():
    torch.manual_seed(0)
    module = JointCSIM(8, inner=8, state=2)
    image, events = torch.randn(2, 1, 5, 7, 8)
    before, after = module(image, events)[0], module(image, events + 1)[0]
    assert before.shape == (1, 5, 7, 8)
    assert not torch.allclose(before, after)


def test_a_linear_layer_keeps_the_scale_whatever_its_width():
    torch.manual_seed(0)
    for width in (32, 512):
        layer = nn.Linear(width, 256)
        init_linear_by_width(layer)
        assert F.linear(torch.randn(256, width), layer.weight).std().item() == pytest.approx(1.0, abs=0.05)


def test_the_head_adds_from_coarse_to_fine():
    head = SumHead((2, 2, 2), channels=2, num_classes=2)
    for name in ("norm", "classify"):
        setattr(head, name, nn.Identity())
    head.embed = nn.ModuleList(nn.Identity() for _ in range(3))
    nn.init.zeros_(head.conv.weight)
    nn.init.zeros_(head.conv.bias)
    scales = [torch.full((1, *size, 2), value) for size, value in (((5, 7), 1.0), ((3, 4), 10.0), ((2, 2), 100.0))]
    torch.testing.assert_close(head(scales), torch.full((1, 5, 7, 2), F.gelu(torch.tensor(111.0)).item()))
