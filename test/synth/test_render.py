from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mambaseg_core.synth.ground import Ground
from mambaseg_core.synth.pinhole import PinholeView, Pose, rotation
from mambaseg_core.synth.quads import ROAD, SIDEWALK, VEGETATION, Mover, Quad, carried, flat, upright
from mambaseg_core.synth.render import Renderer, Rendering
from mambaseg_core.synth.road import STRAIGHT, Road
from mambaseg_core.synth.shadows import ShadowMap
from mambaseg_core.synth.sky import Weather
from mambaseg_core.synth.textures import LUMA, Texture, make_texture

SIZE = (80, 100)
VIEW = PinholeView(np.asarray([[100.0, 0, 49.5], [0, 100.0, 39.5], [0, 0, 1]]), np.eye(3), SIZE)
POSE = Pose(np.asarray([0.0, -1.5, 0.0]), np.eye(3))
CAR = 8
BENT = Road(bends=((6.0, 0.03, 0.4),))


def texture(left: float = 0.9, right: float = 0.1, alpha: np.ndarray | None = None) -> Texture:
    image = np.full((16, 16, 3), left, np.float32)
    image[:, 8:] = right
    return make_texture(image, alpha)


def quad(offset: float = 10.0, label: int = CAR, shown: Texture | None = None, mover: Mover | None = None) -> Quad:
    """2 m x 2 m around the optical axis: 20 x 20 pixels when it is 10 m ahead."""
    return replace(upright((-1, offset), (1, offset), (0.5, 2.5), shown or texture(), label), mover=mover)


def draw(
    *quads: Quad,
    view: PinholeView = VIEW,
    pose: Pose = POSE,
    seconds: float = 0.0,
    gray: bool = True,
    road: Road = STRAIGHT,
) -> Rendering:
    return Renderer(quads, Ground(np.random.default_rng(0), road), view, gray=gray).render(pose, seconds)


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
    ("drawn", "expected"),
    [  # at the right: x = 1 from 5 to 10 m is 20 to 10 px off; 1 m below the eye: 20 to 10 px below
        (upright((1, 5), (1, 10), (0.48, 2.52), texture(), CAR), (20, 59, 60, 69)),
        (flat((-1.02, 1.02), (5.0, 10.0), 0.5, texture(), CAR), (50, 59, 30, 69)),
    ],
)
def test_quads_along_the_street(drawn: Quad, expected: tuple[int, ...]) -> None:
    frame = draw(drawn)
    y, x = np.nonzero(frame.labels == CAR)
    assert (y.min(), y.max(), x.min(), x.max()) == expected
    assert frame.depth[y, x].min() >= 5
    assert frame.depth[y, x].max() <= 10


def test_a_quad_of_any_heading() -> None:
    """From (-1, 10) to (1, 20): its edges are 10 px left and 5 px right of the middle; depths by hand."""
    frame = draw(upright((-1, 10), (1, 20), (0.5, 2.5), texture(), CAR))
    y, x = np.nonzero(frame.labels == CAR)
    assert (x.min(), x.max()) == (40, 54)
    ray = (x - 49.5) / 100
    np.testing.assert_allclose(frame.depth[y, x], 15 / (1 - 5 * ray), rtol=1e-4)  # z = 15 + 5 x


def test_a_sloped_quad() -> None:
    """A ramp from 5 m ahead on the ground to 15 m ahead and 1 m up: y = 0.1 (5 - z)."""
    frame = draw(Quad((-1.0, -1.0, 15.0), (2.0, 0.0, 0.0), (0.0, 1.0, -10.0), (texture(),), CAR))
    y, x = np.nonzero(frame.labels == CAR)
    np.testing.assert_allclose(frame.depth[y, x], 2.0 / ((y - 39.5) / 100 + 0.1), rtol=1e-4)
    assert y.min() == 43  # 0.5 m below the eye at 15 m
    assert y.max() == 69  # 1.5 m below at 5 m


@pytest.mark.parametrize("facing", [-1, 0, 1])
def test_a_face_is_seen_from_its_side_only(facing: int) -> None:
    for drawn, seen in ((quad(), facing >= 0), (upright((1, 10), (-1, 10), (0.5, 2.5), texture(), CAR), facing <= 0)):
        assert (CAR in draw(replace(drawn, facing=facing)).labels) == seen


@pytest.mark.parametrize("swapped", [False, True])
def test_the_nearer_quad_hides_the_other(swapped: bool) -> None:
    quads = [quad(), upright((-4, 20), (4, 20), (1, 2), texture(), 3)]
    frame = draw(*reversed(quads)) if swapped else draw(*quads)
    assert box(frame.labels) == (30, 49, 40, 59)
    assert (frame.labels[38:42, 30:40] == 3).all()  # 20 px to the left of the middle
    assert (frame.labels[38:42, 60:70] == 3).all()


def test_a_quad_moves_and_the_camera_too() -> None:
    moving = quad(offset=0.0, mover=Mover(STRAIGHT, 10.0, 0.0, speed=10.0, aside=1.0))
    assert box(draw(moving, seconds=1.0).labels) == (35, 44, 50, 59)  # 20 m ahead, 1 m to the right
    ahead = Pose(np.asarray([1.0, -1.5, 10.0]), np.eye(3))
    assert box(draw(moving, pose=ahead, seconds=1.0).labels) == (30, 49, 40, 59)


def test_what_moves_follows_the_road() -> None:
    """It is drawn as the same thing that stands where it is by then."""
    mover = Mover(BENT, 4.0, -1.0, speed=9.0)
    later = Mover(BENT, 4.0 + 9.0, -1.0)
    pose = Pose(BENT.point(0.0, 0.0, 1.5), np.eye(3))
    moved = draw(*carried([quad(0.0)], mover), pose=pose, seconds=1.0, road=BENT)
    stood = draw(*carried([quad(0.0)], later), pose=pose, road=BENT)
    assert (stood.labels == CAR).sum() > 100
    np.testing.assert_array_equal(moved.labels, stood.labels)


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


def test_a_shadow_darkens_the_ground_that_is_visible_and_has_no_label() -> None:
    shadow = replace(flat((-8, 8), (4, 12), 0.0, texture(), None), shade=0.4)
    plain, shaded = draw(quad()), draw(quad(), shadow)
    np.testing.assert_array_equal(plain.labels, shaded.labels)
    np.testing.assert_array_equal(plain.depth, shaded.depth)
    np.testing.assert_array_equal(plain.color[30:50, 40:60], shaded.color[30:50, 40:60])  # the quad stands before it
    assert shaded.color[60, 50, 0] < 0.5 * plain.color[60, 50, 0]


def test_a_house_casts_its_shadow_away_from_the_sun() -> None:
    """The sun stands at the left, 45 degrees high: 6 m of house at x = -10..-8 darken the road up to x = -2."""
    weather = Weather(sun=(-np.pi / 2, np.pi / 4), contrast=1.0)
    shadows = ShadowMap(weather, 60.0)
    shadows.box((0.0, 60.0), (-10.0, -8.0), 6.0)
    light = [
        float(shadows.light(np.full((1, 1), x, np.float32), np.full((1, 1), 30, np.float32))[0, 0]) for x in (-3, -1)
    ]
    assert light[0] < 0.5
    assert light[1] == 1.0


@pytest.mark.parametrize("offset", [-3.0, 0.1, 300.0])
def test_what_is_behind_or_too_far_is_not_drawn(offset: float) -> None:
    assert CAR not in draw(quad(offset)).labels


def test_a_wall_beside_the_camera_is_cut_at_the_near_plane() -> None:
    frame = draw(upright((2, -20), (2, 20), (0, 5), texture(), 1))
    assert frame.labels[39, 99] == 1
    assert frame.labels[39, 58] != 1  # beyond 20 m: 10 px off the middle
    assert frame.labels[39, 61] == 1


def test_the_ground_by_hand() -> None:
    frame = draw(quad(500.0))
    y, x = np.mgrid[42:80, 0:100]
    depth = 150 / (y - 39.5)
    np.testing.assert_allclose(frame.depth[42:], depth, rtol=1e-4)
    across = np.abs((x - 49.5) / 100 * depth)
    expected = np.where(across < 5.3, ROAD, np.where(across < 8.3, SIDEWALK, frame.labels[-1, 0]))
    clear = (np.abs(across - 5.3) > 1e-3) & (np.abs(across - 8.3) > 1e-3) & (across < 12)  # of rounding
    far = clear & (across > 8.3)
    np.testing.assert_array_equal(frame.labels[42:][clear & ~far], expected[clear & ~far])
    assert set(np.unique(frame.labels[42:][far])) <= {SIDEWALK, VEGETATION}
    sky = frame.labels[:38]
    assert (sky[:20] == 0).all()
    assert np.isinf(frame.depth[:20]).all()


@pytest.mark.parametrize(("grade", "bow"), [(0.05, 0.0), (0.0, 0.002), (0.02, -0.002)])
def test_rays_meet_a_road_with_hills(grade: float, bow: float) -> None:
    road = replace(BENT, grade=grade, bow=bow)
    pose = Pose(road.point(3.0, 1.0, 1.5), rotation(0.05, 0.1, 0.02))
    directions = (pose.rotation.T @ VIEW.rays()).reshape(3, *SIZE).astype(np.float32)
    depth = road.hit(directions, pose.position)
    met = np.isfinite(depth) & (depth < 140)
    assert 0.3 < met.mean() < 0.9
    x, y, z = pose.position[:, None] + depth[met] * directions[:, met].astype(np.float64)
    np.testing.assert_allclose(-y, road.grade * z + road.bow * z**2 / 2, atol=2e-3)
    for part in np.linspace(0.1, 0.95, 8):  # nothing of the ground is nearer
        _, near_y, near_z = pose.position[:, None] + part * depth[met] * directions[:, met].astype(np.float64)
        assert (-near_y > road.grade * near_z + road.bow * near_z**2 / 2 - 2e-3).all()
    middle = road.across(x.astype(np.float32), z.astype(np.float32))
    back = np.stack([road.point(float(along), float(t)) for along, t in zip(z[::97], middle[::97], strict=True)])
    np.testing.assert_allclose(back[:, 0], x[::97], atol=5e-3)


def test_side_streets_leave_the_road_on_their_side() -> None:
    road = replace(STRAIGHT, side_half_m=4.0, side_signs=(1,), crossing_at_m=15.0)
    labels = draw(quad(500.0), road=road).labels
    row = round(39.5 + 10)  # 15 m ahead
    assert labels[row, 98] == ROAD  # 7.3 m to the right
    assert labels[row, 1] == SIDEWALK  # 7.3 m to the left
    assert labels[round(39.5 + 15), 98] == ROAD  # 10 m ahead and 4.9 m to the right: before it
    assert draw(quad(500.0)).labels[row, 98] == SIDEWALK


def test_gray_is_the_luma_of_rgb() -> None:
    gray, rgb = draw(quad()), draw(quad(), gray=False)
    assert rgb.color.shape == (*SIZE, 3)
    np.testing.assert_allclose(gray.color[..., 0], rgb.color @ np.asarray(LUMA, np.float32), atol=0.01)


def test_far_textures_are_averaged() -> None:
    checks = np.indices((64, 64)).sum(axis=0) % 2
    pattern = make_texture(np.repeat(checks[..., None], 3, axis=2).astype(np.float32))
    seen = draw(quad(40.0, shown=pattern)).color[37:42, 47:52]
    assert seen.std() < 0.03
