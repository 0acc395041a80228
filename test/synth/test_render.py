from __future__ import annotations

import numpy as np
import pytest

from mambaseg_core.synth.ground import ROAD, SIDEWALK, Ground
from mambaseg_core.synth.pinhole import PinholeView, Pose, rotation
from mambaseg_core.synth.render import Quad, Renderer, Rendering
from mambaseg_core.synth.textures import LUMA, Texture, make_texture

SIZE = (80, 100)
VIEW = PinholeView(np.asarray([[100.0, 0, 49.5], [0, 100.0, 39.5], [0, 0, 1]]), np.eye(3), SIZE)
POSE = Pose(np.asarray([0.0, -1.5, 0.0]), np.eye(3))
CAR = 8


def texture(left: float = 0.9, right: float = 0.1, alpha: np.ndarray | None = None) -> Texture:
    image = np.full((16, 16, 3), left, np.float32)
    image[:, 8:] = right
    return make_texture(image, alpha)


def quad(offset: float = 10.0, label: int | None = CAR, shown: Texture | None = None, **options: float) -> Quad:
    """2 m x 2 m around the optical axis: 20 x 20 pixels when it is 10 m ahead."""
    return Quad(2, offset, (-1, 1), (-2.5, -0.5), (shown or texture(),), label, **options)  # type: ignore[arg-type]


def draw(
    *quads: Quad, view: PinholeView = VIEW, pose: Pose = POSE, seconds: float = 0.0, gray: bool = True
) -> Rendering:
    return Renderer(quads, Ground(np.random.default_rng(0)), view, gray=gray).render(pose, seconds)


def box(labels: np.ndarray, label: int = CAR) -> tuple[int, int, int, int]:
    """First and last row and column of a label that fills a rectangle."""
    rows, columns = np.nonzero(labels == label)
    found = int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())
    assert len(rows) == (found[1] - found[0] + 1) * (found[3] - found[2] + 1)
    return found


def test_a_quad_by_hand() -> None:
    frame = draw(quad())
    assert box(frame.labels) == (30, 49, 40, 59)  # 49.5 +- 10 columns, 39.5 +- 10 rows
    np.testing.assert_allclose(frame.depth[30:50, 40:60], 10, rtol=1e-6)
    assert frame.color[40, 42, 0] > frame.color[40, 57, 0] + 0.4  # the texture's left half is bright


@pytest.mark.parametrize(
    ("axis", "offset", "columns", "rows", "expected"),
    [
        (
            0,
            1.0,
            (5.0, 10.0),
            (-2.52, -0.48),
            (20, 59, 60, 69),
        ),  # at the right: x = 1 from 5 to 10 m is 20 to 10 px off
        (1, -0.5, (-1.02, 1.02), (5.0, 10.0), (50, 59, 30, 69)),  # 1 m below the eye: 20 to 10 px below
    ],
)
def test_quads_along_the_street(axis, offset, columns, rows, expected) -> None:  # type: ignore[no-untyped-def]
    frame = draw(Quad(axis, offset, columns, rows, (texture(),), CAR))
    y, x = np.nonzero(frame.labels == CAR)
    assert (y.min(), y.max(), x.min(), x.max()) == expected
    assert frame.depth[y, x].min() >= 5
    assert frame.depth[y, x].max() <= 10


@pytest.mark.parametrize("swapped", [False, True])
def test_the_nearer_quad_hides_the_other(swapped: bool) -> None:
    quads = [quad(), Quad(2, 20.0, (-4, 4), (-2, -1), (texture(),), 3)]
    frame = draw(*reversed(quads)) if swapped else draw(*quads)
    assert box(frame.labels) == (30, 49, 40, 59)
    assert (frame.labels[38:42, 30:40] == 3).all()  # 20 px to the left of the middle
    assert (frame.labels[38:42, 60:70] == 3).all()


def test_a_quad_moves_and_the_camera_too() -> None:
    moving = quad(velocity=(1.0, 10.0))  # type: ignore[arg-type]
    assert box(draw(moving, seconds=1.0).labels) == (35, 44, 50, 59)  # 20 m ahead, 1 m to the right
    ahead = Pose(np.asarray([1.0, -1.5, 10.0]), np.eye(3))
    assert box(draw(moving, pose=ahead, seconds=1.0).labels) == (30, 49, 40, 59)


def test_turning_the_vehicle_is_turning_the_view() -> None:
    turn = rotation(0.02, 0.05, -0.1)
    by_pose = draw(quad(), pose=Pose(POSE.position, turn))
    by_view = draw(quad(), view=PinholeView(VIEW.matrix, turn, SIZE))
    np.testing.assert_array_equal(by_pose.labels, by_view.labels)
    assert abs((by_pose.labels == CAR).sum() - 400) < 30


def test_holes_show_what_is_behind() -> None:
    alpha = np.ones((16, 16), np.float32)
    alpha[:, :8] = 0
    frame = draw(quad(shown=texture(alpha=alpha)))
    assert box(frame.labels) == (30, 49, 50, 59)
    assert np.isinf(frame.depth[35, 45])


def test_without_a_label_the_ground_s_stays() -> None:
    shadow = Quad(1, -0.01, (-8, 8), (4, 12), (texture(0.0, 0.0),), None)
    plain, shaded = draw(quad(500.0)), draw(shadow)
    np.testing.assert_array_equal(plain.labels, shaded.labels)
    assert shaded.color[60, 50, 0] < 0.5 * plain.color[60, 50, 0]


@pytest.mark.parametrize("offset", [-3.0, 0.1, 300.0])
def test_what_is_behind_or_too_far_is_not_drawn(offset: float) -> None:
    assert CAR not in draw(quad(offset)).labels


def test_a_wall_beside_the_camera_is_cut_at_the_near_plane() -> None:
    frame = draw(Quad(0, 2.0, (-20, 20), (-5, 0), (texture(),), 1))
    assert frame.labels[39, 99] == 1
    assert frame.labels[39, 58] == 0  # beyond 20 m: 10 px off the middle
    assert frame.labels[39, 61] == 1


def test_the_ground_by_hand() -> None:
    frame = draw(quad(500.0))
    assert (frame.labels[:40] == 0).all()
    assert np.isinf(frame.depth[:40]).all()
    y, x = np.mgrid[40:80, 0:100]
    depth = 150 / (y - 39.5)
    np.testing.assert_allclose(frame.depth[40:], depth, rtol=1e-4)
    across = np.abs((x - 49.5) / 100 * depth)
    clear = np.abs(across - 5.3) > 1e-3  # of rounding
    np.testing.assert_array_equal(frame.labels[40:][clear], np.where(across < 5.3, ROAD, SIDEWALK)[clear])


def test_gray_is_the_luma_of_rgb() -> None:
    gray, rgb = draw(quad()), draw(quad(), gray=False)
    assert rgb.color.shape == (*SIZE, 3)
    np.testing.assert_allclose(gray.color[..., 0], rgb.color @ np.asarray(LUMA, np.float32), atol=0.01)


def test_far_textures_are_averaged() -> None:
    checks = np.indices((64, 64)).sum(axis=0) % 2
    pattern = make_texture(np.repeat(checks[..., None], 3, axis=2).astype(np.float32))
    seen = draw(quad(40.0, shown=pattern)).color[37:42, 47:52]
    assert seen.std() < 0.03
