"""The parts of the networks, against results computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mambaseg_core import ops
from mambaseg_core.models.layers import DropPath, resize, rising_rates
from mambaseg_core.models.mambaseg.presets import stage_sizes
from mambaseg_core.models.mambaseg.released_fusion import reread_merge, swap_odd_channels
from mambaseg_core.models.mambaseg.segformer_head import SegFormerHead
from mambaseg_core.models.scans import DirectionalScan


def test_swap_odd_channels():
    a, b = torch.tensor([0.0, 1, 2, 3]), torch.tensor([10.0, 11, 12, 13])
    new_a, new_b = swap_odd_channels(a, b)
    assert new_a.tolist() == [0, 11, 2, 13]
    assert new_b.tolist() == [10, 1, 12, 3]


def test_reread_merge_by_hand():
    # H=1, W=2, L=2: two pixels, sequences of two; in memory direction 0 holds 0..3, direction 1 10..13.
    y = torch.tensor([0.0, 1, 2, 3, 10, 11, 12, 13]).reshape(1, 2, 2, 2)
    # Reread as [L*H, W]: [[0, 1], [2, 3]] + flipped [[11, 10], [13, 12]] = [[11, 11], [15, 15]];
    # transposed [[11, 15], [11, 15]] and reread as [L, H, W]: channel 0 is (11, 15), channel 1 is (11, 15).
    merged = reread_merge(y, height=1, width=2)
    assert merged.tolist() == [[[[11, 11], [15, 15]]]]


def test_reread_merge_of_a_wide_map():
    height, width, length = 2, 3, 4
    y = torch.arange(2 * height * width * length, dtype=torch.float32)
    merged = reread_merge(y.reshape(1, 2, height * width, length), height, width)
    assert merged.shape == (1, height, width, length)
    plane = height * width * length
    for h in range(height):
        for w in range(width):
            for c in range(length):
                column, row = divmod((c * height + h) * width + w, length * height)  # of [W, L*H]
                forth = row * width + column
                back = plane + row * width + (width - 1 - column)
                assert merged[0, h, w, c] == forth + back


def test_drop_path_keeps_the_expectation_and_does_nothing_at_rest():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 1, 1, 2)
    y = drop(x)
    assert sorted(set(y.flatten().tolist())) == pytest.approx([0, 4 / 3])
    assert y.mean() == pytest.approx(1, abs=0.06)  # six deviations: other builds of torch draw other numbers
    assert torch.equal(y[..., 0], y[..., 1])  # whole samples
    assert drop.eval()(x) is x


def test_rising_rates():
    rates = rising_rates((2, 2, 8, 2), 0.2)
    assert [len(stage) for stage in rates] == [2, 2, 8, 2]
    assert rates[0] == pytest.approx([0, 0.2 / 13])
    assert rates[3][-1] == pytest.approx(0.2)


@pytest.mark.parametrize("training", [False, True])
def test_the_decoders_order_changes_nothing(training):
    torch.manual_seed(0)
    head = SegFormerHead((8, 16, 32), channels=12, num_classes=4, dropout=0.0).double().train(training)
    sizes = (9, 13, 8), (5, 7, 16), (3, 4, 32)  # more positions than channels, and fewer
    features = [torch.randn(2, *size, dtype=torch.float64, requires_grad=True) for size in sizes]
    leaves = [*features, *head.parameters()]
    results = []
    for forward in (head.forward, head.as_written):
        logits = forward(features)
        results.append([logits, *torch.autograd.grad(logits.square().sum(), leaves)])
    torch.testing.assert_close(*results)


def test_resize_is_channels_last():
    x = torch.randn(1, 2, 3, 5)
    expected = F.interpolate(x.permute(0, 3, 1, 2), (4, 7), mode="bilinear").permute(0, 2, 3, 1)
    assert torch.equal(resize(x, (4, 7)), expected)
    assert resize(x, (2, 3)) is x


def test_stage_sizes_round_up():
    assert stage_sizes((200, 346), 4) == [(50, 87), (25, 44), (13, 22), (7, 11)]


def test_a_scan_starts_with_sensible_steps():
    torch.manual_seed(0)
    scan = DirectionalScan(ops.ss2d, directions=4, channels=8, state=3, dt_rank=2)
    steps = F.softplus(scan.dt_bias)
    assert steps.min() >= 1e-3 * (1 - 1e-4)
    assert steps.max() <= 1e-1 * (1 + 1e-4)
    assert steps.min() < 5e-3 < 3e-2 < steps.max()
    torch.testing.assert_close(scan.A_log, torch.tensor([1.0, 2, 3]).log().expand(32, 3))
    assert scan(torch.randn(1, 4, 5, 8)).shape == (1, 4, 5, 8)


def test_the_cost_of_a_scan_by_hand():
    # 4 directions, 6 positions, 8 channels: 7 rows + rank 1 of projections; 3 * 3 + 2 a step
    scan = DirectionalScan(ops.ss2d, directions=4, channels=8, state=3, dt_rank=1)
    assert scan.product_macs(6) == 4 * 6 * 8 * (7 + 1)
    assert scan.scan_macs(6) == 4 * 6 * 8 * 11


def test_a_double_precision_scan_stays_double():
    scan = DirectionalScan(ops.ss2d, directions=4, channels=4, state=1, dt_rank=math.ceil(4 / 16)).double()
    assert scan(torch.randn(1, 2, 2, 4, dtype=torch.float64)).dtype == torch.float64
