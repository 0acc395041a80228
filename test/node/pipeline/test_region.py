"""The region of interest: image and events are cut alike, and the mask's pixels stay those of the camera."""

from __future__ import annotations

import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_ros.pipeline.region import Region, cut, read_region
from mambaseg_ros.sources.source import Second

SIZE = (48, 64)


def events(size: tuple[int, int] = SIZE) -> Events:
    """One event at each pixel of the sensor."""
    y, x = (axis.ravel() for axis in np.indices(size))
    return Events.from_arrays(x, y, np.arange(len(x)), [1] * len(x), height=size[0], width=size[1])


def second(data: Events | np.ndarray) -> Second:
    size = (data.height, data.width) if isinstance(data, Events) else data.shape
    return Second(data, 5, 0, np.array([0, 9]), size)


def test_text_is_read() -> None:
    assert read_region("") is read_region("  ") is None
    assert read_region("1, 2,30,40") == Region(1, 2, 30, 40)


@pytest.mark.parametrize(
    "text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,0,5,5", "0,0,0,5", "0,0,5,0", "1.5,0,5,5", "0,0,99999,5", ",,,", "5"]
)
def test_text_that_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^parameter 'roi' is '{text}'; expected x,y,width,height, four [^\n]+$"):
        read_region(text)


@pytest.mark.parametrize("region", [Region(0, 0, 64, 48), Region(7, 5, 20, 15), Region(44, 33, 20, 15)])
def test_image_and_events_of_one_resolution_are_cut_to_the_same_pixels(region: Region) -> None:
    image = np.arange(48 * 64 * 3, dtype=np.uint16).astype(np.uint8).reshape(*SIZE, 3)
    part, other, same, whole = cut(region, SIZE, image, second(events()))
    assert part is not None
    assert other is not None
    assert (same, whole, other.size) == (region, SIZE, (region.height, region.width))
    rows, columns = slice(region.y, region.y + region.height), slice(region.x, region.x + region.width)
    np.testing.assert_array_equal(part, image[rows, columns])
    data = other.data
    assert isinstance(data, Events)
    assert (data.height, data.width, len(data)) == (region.height, region.width, region.height * region.width)
    number = (data.y.astype(int) + region.y) * 64 + data.x + region.x
    np.testing.assert_array_equal(number, data.t_ns)  # times stay, and each event is the one of its pixel
    assert other.events == 5
    np.testing.assert_array_equal(other.edges_ns, [0, 9])  # of the whole sensor


@pytest.mark.parametrize("scale", [2, 3])
def test_a_second_input_of_another_resolution_is_cut_to_the_same_part(scale: int) -> None:
    size = (SIZE[0] * scale, SIZE[1] * scale)
    region = Region(8, 4, 32, 24)
    thermal = np.zeros(size, np.uint8)
    thermal[4 * scale : 28 * scale, 8 * scale : 40 * scale] = 9
    for data in (events(size), thermal):
        _, other, _, _ = cut(region, SIZE, np.zeros(SIZE, np.uint8), second(data))
        assert other is not None
        assert other.size == (24 * scale, 32 * scale)
    assert isinstance(other.data, np.ndarray)
    assert (other.data == 9).all()


def test_without_an_image_region_and_whole_are_those_of_the_second_input() -> None:
    image, other, region, whole = cut(Region(8, 4, 32, 24), (96, 128), None, second(events()))
    assert (image, region, whole) == (None, Region(4, 2, 16, 12), SIZE)
    assert other is not None
    assert other.size == (12, 16)
    with pytest.raises(ValueError, match="no image has come, of which the region 'roi' is a part; expected one before"):
        cut(Region(8, 4, 32, 24), (0, 0), None, second(events()))


def test_regions_that_cannot_be_are_refused() -> None:
    Region(0, 0, 64, 48).check_inside(SIZE)
    for region in (Region(1, 0, 64, 48), Region(0, 1, 64, 48), Region(70, 0, 1, 1)):
        with pytest.raises(ValueError, match=r"^the image has 64x48 .* 'roi' reaches to column \d+ and row \d+;"):
            region.check_inside(SIZE)
    image = np.zeros((480, 640), np.uint8)
    with pytest.raises(ValueError, match=r"'roi' is 1x2 of 64x48 pixels of the second input, too few"):
        cut(Region(3, 3, 10, 14), (480, 640), image, second(events()))
    with pytest.raises(ValueError, match=r"'roi' is 0x1 of 64x48 pixels"):
        cut(Region(1, 1, 3, 10), (480, 640), image, second(events()))
    with pytest.raises(ValueError, match="cannot be one view"):
        cut(Region(3, 3, 100, 100), (480, 480), image[:, :480], second(events()))
