from __future__ import annotations

import numpy as np
import pytest

from mambaseg_core.synth.event_camera import EventSimulator
from mambaseg_core.synth.lens import CLEAN, Dirt, Lens

SIZE = (120, 160)


def stripes(shift: float = 0.0) -> np.ndarray:
    x = np.arange(160) + shift
    return np.broadcast_to(0.5 + 0.4 * np.sign(np.sin(x / 6)), SIZE).astype(np.float32)


def test_a_clean_lens_changes_nothing() -> None:
    assert Lens(CLEAN, SIZE, 0).look(stripes(), 0.0) is not None
    np.testing.assert_array_equal(Lens(CLEAN, SIZE, 0).look(stripes(), 0.0), stripes())


def test_colors_and_gray_see_the_same_drops() -> None:
    lens = Lens(Dirt(drops=8, dust=5, film=0.1, seed=1), SIZE, 0)
    gray = lens.look(stripes(), 0.3)
    color = lens.look(np.repeat(stripes()[..., None], 3, axis=2), 0.3)
    assert color.shape == (*SIZE, 3)
    for channel in range(3):
        np.testing.assert_allclose(color[..., channel], gray, atol=1e-5)


def test_a_drop_covers_a_disc_and_leaves_the_rest() -> None:
    scene = stripes()
    changed = np.abs(Lens(Dirt(drops=6, seed=2), SIZE, 0).look(scene, 0.0) - scene) > 1e-6
    assert 0.005 < changed.mean() < 0.5


def test_a_drop_shows_the_scene_upside_down() -> None:
    """As a bar in the scene goes to the right, its picture in the drop goes to the left."""
    lenses = (Lens(Dirt(drops=1, seed=seed), (400, 400), 0) for seed in range(100))
    lens = next(lens for lens in lenses if 100 < lens._drops[0].x < 300 and 100 < lens._drops[0].y < 300)
    drop = lens._drops[0]
    places = []
    for shift in (-20, 20):
        scene = np.full((400, 400), 0.1, np.float32)
        middle = int(drop.x) + shift
        scene[:, max(0, middle - 6) : middle + 6] = 1.0
        seen = lens.look(scene, 0.0)
        row = int(drop.y)
        inside = slice(int(drop.x - 0.7 * drop.radius), int(drop.x + 0.7 * drop.radius))
        weight = np.maximum(seen[row, inside] - 0.2, 0)
        places.append(float((weight * np.arange(len(weight))).sum() / weight.sum()))
    assert places[1] < places[0] - 2


def test_each_lens_has_its_own_dirt() -> None:
    dirt = Dirt(drops=10, dust=10, seed=3)
    first, again, second = (Lens(dirt, SIZE, number).look(stripes(), 0.0) for number in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 0.1


def test_dust_darkens_and_makes_no_events() -> None:
    lens = Lens(Dirt(dust=30, seed=4), SIZE, 1)
    flat = np.full(SIZE, 0.5, np.float32)
    clear = lens.look(flat, 0.0) / flat
    assert 0.2 < clear.min() < 0.8
    assert clear.max() == pytest.approx(1, abs=1e-3)
    simulator = EventSimulator(lens.look(flat, 0.0), 0, rng=np.random.default_rng(0))
    assert len(simulator.step(lens.look(flat, 1.0), 1_000_000)) == 0


def test_drops_make_events_of_a_moving_scene() -> None:
    """Where the scene itself stays as it is, and a drop shows a part of it that moves."""
    dirt = Dirt(drops=20, seed=5)
    found = []
    for lens in (Lens(CLEAN, SIZE, 1), Lens(dirt, SIZE, 1)):
        scenes = [stripes() for _ in range(6)]
        for number, scene in enumerate(scenes):
            scene[:40] = stripes(4 * number)[:40]
        simulator = EventSimulator(lens.look(scenes[0], 0.0), 0, rng=np.random.default_rng(0))
        events = [simulator.step(lens.look(scene, 0.005 * n), 5000 * n) for n, scene in enumerate(scenes[1:], 1)]
        found.append(sum(int((part.y >= 45).sum()) for part in events))
    assert found[0] == 0
    assert found[1] > 50


def test_water_spreads_light_and_keeps_its_sum() -> None:
    scene = stripes()
    seen = Lens(Dirt(film=0.25), SIZE, 0).look(scene, 0.0)
    assert seen.mean() == pytest.approx(scene.mean(), rel=1e-4)
    assert seen.std() == pytest.approx(0.75 * scene.std(), rel=1e-3)
