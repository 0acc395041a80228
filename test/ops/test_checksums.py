"""Checksums of tensors: the kernel is the plain form, and any change is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mambaseg_core.ops.checksums import FACTOR, PHASES, checksums, plain_checksums


def test_the_sum_is_that_of_the_definition() -> None:
    one = 0x3F800000  # the bits of 1.0
    (found,) = checksums([torch.tensor([1.0, -1.0])], 0)
    expected = one * 1 + (one | 0x80000000) * (FACTOR | 1)
    assert found % 2**64 == expected % 2**64
    assert checksums([], 0) == []
    assert checksums([torch.zeros(0), torch.zeros(5)], 0) == [0, 0]


def test_the_default_device_changes_nothing() -> None:
    tensors = [torch.ones(5)]
    expected = checksums(tensors, 0)
    with torch.device("meta"):
        assert checksums(tensors, 0) == expected


@pytest.mark.parametrize("phase", [0, 3, PHASES - 1])
def test_the_kernel_is_the_plain_form(phase: int) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(3), torch.randn(40_000, 70), torch.randn(8, 6).mT, nn.Parameter(torch.randn(2, 3, 3, 3))]
    tensors.append(tensors[3].detach().to(memory_format=torch.channels_last))
    sums = torch.empty(len(tensors), dtype=torch.int64)
    with torch.no_grad():
        plain_checksums(sums, tensors, phase)
    threads = torch.get_num_threads()
    for number in (1, 3):
        torch.set_num_threads(number)
        assert checksums(tensors, phase) == sums.tolist()
    torch.set_num_threads(threads)


def last_bit(x: Tensor) -> None:
    x.view(torch.int32).view(-1)[-1] ^= 1


def sign_of_zero(x: Tensor) -> None:
    x[0, 0] = -x[0, 0]


def two_rows(x: Tensor) -> None:
    x[[3, 7]] = x[[7, 3]]


CHANGES: list[Callable[[Tensor], object]] = [
    last_bit,
    sign_of_zero,
    two_rows,
    lambda x: x.neg_(),
    lambda x: x.mul_(2),
    lambda x: x.zero_(),
    lambda x: x.copy_(x.flip(0)),
    lambda x: x.copy_(x.mT.reshape(x.shape)),
    lambda x: x[5, 5].fill_(float("nan")),
    lambda x: x[:2].neg_(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_seen(change: Callable[[Tensor], object]) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 32)
    x[0, 0] = 0
    before = checksums([x], 5)
    change(x)
    assert checksums([x], 5) != before


@pytest.mark.parametrize("wrong", [torch.zeros(3, dtype=torch.float64), torch.zeros(3, device="meta")])
def test_others_are_refused(wrong: Tensor) -> None:
    with pytest.raises(RuntimeError, match="not float32 on the CPU"):
        checksums([torch.zeros(1), wrong], 0)


@pytest.mark.parametrize("phase", [-1, PHASES])
def test_other_phases_are_refused(phase: int) -> None:
    with pytest.raises(RuntimeError, match="phase is"):
        checksums([torch.zeros(1)], phase)


@pytest.mark.parametrize("place", [0, 255, 256, 16_384, 20_000, 99_999])
def test_the_phases_read_every_value_once(place: int) -> None:
    x = torch.randn(100_000)
    before = [checksums([x], phase) for phase in range(PHASES)]
    x[place] += 1
    after = [checksums([x], phase) for phase in range(PHASES)]
    assert [old != new for old, new in zip(before, after, strict=True)].count(True) == 1
