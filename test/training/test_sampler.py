from __future__ import annotations

from itertools import chain

import pytest

from mambaseg_core.training.sampler import StepSampler, mixed_seed


def sampler(**changes: int) -> StepSampler:
    return StepSampler(
        **{"size": 10, "seed": 3, "batch": 2, "accumulate": 2, "first_step": 0, "steps": 5, **changes}  # type: ignore[arg-type]
    )


def test_every_pass_uses_every_sample_once_in_another_order() -> None:
    numbers = [number for number, _ in chain(*sampler())]
    assert sorted(numbers[:10]) == sorted(numbers[10:]) == list(range(10))
    assert numbers[:10] != numbers[10:]


def test_a_run_that_goes_on_draws_what_the_whole_run_drew() -> None:
    whole = list(sampler())
    assert list(sampler(first_step=3)) == whole[6:]
    assert len(sampler(first_step=3)) == 4


def test_two_processes_share_what_one_would_draw() -> None:
    one = list(sampler(batch=4))
    first, second = (list(sampler(rank=rank, world=2)) for rank in (0, 1))
    assert [a + b for a, b in zip(first, second, strict=True)] == one


@pytest.mark.parametrize("change", [{"seed": 4}, {"first_step": 1, "steps": 6}])
def test_seed_and_step_matter(change: dict[str, int]) -> None:
    assert list(sampler(**change)) != list(sampler())


def test_augmentation_seeds_differ_and_fit_a_generator() -> None:
    seeds = {seed for _, seed in chain(*sampler(steps=100))}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mixed_seed(1, 2) != mixed_seed(2, 1)
