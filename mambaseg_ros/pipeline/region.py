"""Parameter `roi`: the part of the image, and of the second input, that the model sees. Pure: no node."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mambaseg_core.cameras.camera import Matrix
from mambaseg_core.events import Events
from mambaseg_core.preprocessing import Reading, check_registered
from mambaseg_ros.messages.images import Image
from mambaseg_ros.sources.source import Second


class Region(NamedTuple):
    """A part of a picture, pixels: the left column, the top row, and its size."""

    x: int
    y: int
    width: int
    height: int

    def check_inside(self, size: tuple[int, int]) -> None:
        """Refuse a picture of `size` (height, width) that the region is not a part of.

        Raises:
            ValueError: it reaches beyond the picture.
        """
        if self.x + self.width > size[1] or self.y + self.height > size[0]:
            raise ValueError(
                f"the image has {size[1]}x{size[0]} pixels (width x height), and the region 'roi' reaches to column "
                f"{self.x + self.width} and row {self.y + self.height}; expected a region inside: set another roi"
            )

    def resized(self, size: tuple[int, int], new_size: tuple[int, int]) -> Region:
        """Return the same part of a picture of `new_size`, of whole pixels, for one of a picture of `size`."""
        y, x = new_size[0] / size[0], new_size[1] / size[1]
        left, right = round(self.x * x), round((self.x + self.width) * x)
        top, bottom = round(self.y * y), round((self.y + self.height) * y)
        return Region(left, top, right - left, bottom - top)

    def of_image(self, image: Image) -> Image:
        """Return the part of an image [H, W] or [H, W, 3] as a view."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]

    def of_second(self, second: Events | Reading, image_size: tuple[int, int]) -> Events | Reading:
        """Return the same part of a second input that has the image's view, at whatever resolution.

        Raises:
            ValueError: the views cannot be one, or the part has too few pixels of the second input.
        """
        size = (second.height, second.width) if isinstance(second, Events) else second.shape[:2]
        check_registered(image_size, size)
        part = self.resized(image_size, (size[0], size[1]))
        if min(part.width, part.height) < 1 or abs(part.width * self.height / (part.height * self.width) - 1) > 0.02:
            raise ValueError(
                f"the region 'roi' is {part.width}x{part.height} of {size[1]}x{size[0]} pixels of the second input, "
                "too few to have its shape; expected a larger region: set another roi"
            )
        if not isinstance(second, Events):
            return second[part.y : part.y + part.height, part.x : part.x + part.width]
        return part.of_events(second)

    def of_events(self, events: Events) -> Events:
        """Return the events of this part of the sensor, with coordinates and size of the part."""
        x, y = events.x - np.uint16(self.x), events.y - np.uint16(self.y)  # those before wrap to large numbers
        kept = np.flatnonzero((x < self.width) & (y < self.height))
        return Events(x[kept], y[kept], events.t_ns[kept], events.p[kept], self.height, self.width)

    def pixels(self) -> Matrix:
        """Return the map from pixels of the picture to pixels of the part, float64 [3, 3]."""
        return np.array([[1.0, 0, -self.x], [0, 1, -self.y], [0, 0, 1]])


def cut(
    region: Region, image_size: tuple[int, int], image: Image | None, second: Second | None
) -> tuple[Image | None, Second | None, Region, tuple[int, int]]:
    """Return the region's part of the image and of the second input.

    Args:
        region: of the image, pixels.
        image_size: (height, width) of the image, or of the last one without an image; (0, 0): there was none.
        image: uint8 [H, W] or [H, W, 3], None without one.
        second: with the image's view, None without one.

    Returns:
        the parts, and the region and (height, width) of the whole in pixels of the image, or of the second input
        without one.

    Raises:
        ValueError: as `Region.check_inside` and `Region.of_second`, or there was no image.
    """
    if image_size == (0, 0):
        raise ValueError(
            "no image has come, of which the region 'roi' is a part; expected one before masks of the second input "
            "alone: start the camera, or clear roi"
        )
    region.check_inside(image_size)  # it may have changed since the image was read
    if second is not None:
        data, whole = region.of_second(second.data, image_size), second.size
        part = region.resized(image_size, whole)
        second = second._replace(data=data, size=(part.height, part.width))
        if image is None:
            return None, second, part, whole
    return None if image is None else region.of_image(image), second, region, image_size


def read_region(text: str) -> Region | None:
    """Return the region that parameter `roi` asks for, None where it is empty.

    Raises:
        ValueError: it is not four whole numbers, with a size above 0; one sentence.
    """
    if not text.strip():
        return None
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or min(numbers) < 0 or min(numbers[2:]) == 0 or max(numbers) > np.iinfo(np.uint16).max:
        raise ValueError(
            f"parameter 'roi' is {text!r}; expected x,y,width,height, four whole numbers of pixels such as "
            "0,120,640,240: correct it"
        )
    return Region(*numbers)
