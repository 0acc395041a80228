"""`mambaseg bag pictures`: overlays and a contact sheet from a bag of images and events and a bag of masks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.events import Events
from mambaseg_core.labels import LABEL_SETS
from mambaseg_ros.bag.types import EVENTS_TYPE, open_bag
from mambaseg_ros.messages import events_from_message, image_from_message, stamp_to_ns

Picture = npt.NDArray[np.uint8]
EVENTS_SHOWN_NS = 50_000_000
SHEET_WIDTH = 480  # pixels of one picture in the contact sheet
SHEET_ROWS = 4


@dataclass(frozen=True)
class PicturesSummary:
    """What was drawn."""

    images: int
    masks: int
    contact_sheet: Path


def draw_pictures(bag: Path, masks_bag: Path, out: Path, *, labels: str = "dsec_11") -> PicturesSummary:
    """Write one overlay PNG per mask and a contact sheet (image, events, overlay).

    Args:
        bag: a bag with images on /image and EventArrays on /events.
        masks_bag: a bag with `mono8` masks whose stamps are those of images in `bag`.
        out: folder for the pictures.
        labels: name of the label set that gives the colours.

    Raises:
        ValueError: there is no mask, or none whose stamp is an image's.
    """
    if labels not in LABEL_SETS:
        raise ValueError(f"label set {labels!r} is unknown; expected one of {', '.join(LABEL_SETS)}")
    label_set = LABEL_SETS[labels]
    masks = _read_masks(masks_bag)
    out.mkdir(parents=True, exist_ok=True)
    images = 0
    rows: list[Picture] = []
    for stamp_ns, image, events in _frames(bag):
        images += 1
        if stamp_ns not in masks:
            continue
        overlay = label_set.overlay(image, masks[stamp_ns])
        _write(out / f"overlay_{stamp_ns}.png", overlay)
        rows.append(np.hstack([_small(picture) for picture in (image, _event_picture(events, image), overlay)]))
    if not rows:
        raise ValueError(
            f"{masks_bag} holds {len(masks)} masks, none with the stamp of one of the {images} images of {bag}: "
            "give the bag that the masks were made from"
        )
    chosen = np.unique(np.linspace(0, len(rows) - 1, SHEET_ROWS).round().astype(int))
    sheet = out / "contact_sheet.png"
    _write(sheet, np.vstack([rows[index] for index in chosen]))
    return PicturesSummary(images=images, masks=len(rows), contact_sheet=sheet)


def _read_masks(bag: Path) -> dict[int, Picture]:
    masks = {}
    with open_bag(bag) as reader:
        for connection, _, data in reader.messages():
            if connection.msgtype != "sensor_msgs/msg/Image":
                continue
            message: Any = reader.deserialize(data, connection.msgtype)
            if message.encoding == "mono8":
                masks[stamp_to_ns(message.header.stamp)] = image_from_message(message)
    return masks


def _frames(bag: Path) -> Iterator[tuple[int, Picture, list[Events]]]:
    """Stamp, RGB image, and the packets of events before it, for each image of a bag."""
    packets: deque[Events] = deque()
    with open_bag(bag) as reader:
        for connection, _, data in reader.messages():
            message: Any = reader.deserialize(data, connection.msgtype)
            if connection.msgtype == EVENTS_TYPE and len(message.x):
                packets.append(events_from_message(message)[0])
            elif connection.topic == "/image":
                stamp_ns = stamp_to_ns(message.header.stamp)
                while packets and packets[0].t_ns[-1] < stamp_ns - EVENTS_SHOWN_NS:
                    packets.popleft()
                image = image_from_message(message)
                yield stamp_ns, image if image.ndim == 3 else image[..., None].repeat(3, axis=2), list(packets)


def _event_picture(packets: list[Events], image: Picture) -> Picture:
    """Events on white: blue brighter, red darker, at the sensor's resolution; white where there are none."""
    if not packets:
        return np.full_like(image, 255)
    picture = np.full((packets[0].height, packets[0].width, 3), 255, np.uint8)
    for events in packets:
        picture[events.y, events.x] = np.where(events.p[:, None] > 0, (30, 80, 220), (220, 40, 40))
    return picture


def _small(picture: Picture) -> Picture:
    height = round(SHEET_WIDTH * 3 / 4)
    return cv2.resize(picture, (SHEET_WIDTH, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _write(path: Path, picture: Picture) -> None:
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise ValueError(f"picture {path} could not be written: check the folder and the free space")
