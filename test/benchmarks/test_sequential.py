"""The sequential scan that networks are compared with says what ours say."""

from __future__ import annotations

import pytest
import torch
from sequential import on_sequential_scans, sequential_table

from mambaseg_core.bench.model import network


@pytest.mark.parametrize("name", ["sigma_tiny", "mambaseg_nano"])
def test_the_same_answers_of_the_same_tensors(name):
    model = network(name, "float32", (20, 24))
    slow = on_sequential_scans(model)
    assert all(a is b for a, b in zip(model.parameters(), slow.parameters(), strict=True))
    inputs = torch.rand(1, 3, 20, 24), torch.randn(1, model.bins, 20, 24)
    with torch.inference_mode():
        expected, found = model(*inputs), slow(*inputs)
    assert not torch.equal(found, expected)  # another order of sums: it was another scan
    assert (found - expected).abs().max() < 1e-3 * expected.std()


def test_the_table_names_frame_and_ratio():
    lines = list(sequential_table("mambaseg_nano", (20, 24), 1))
    assert "mambaseg_nano, 20x24" in lines[3]
    assert "sequential scan, one run" in lines[3]
    assert lines[-1].startswith("largest difference of the logits:")
