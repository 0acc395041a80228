"""`mambaseg bag pictures`: overlays and a contact sheet from a bag of images and events and a bag of masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mambaseg_core.events import Window
from mambaseg_core.labels import LABEL_SETS
from mambaseg_core.pictures import EVENT_LEGEND, Picture, event_picture, in_rgb, new_film, with_legend, write_png
from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.bag.drawn_masks import image_stamps, images_of_masks, read_drawn
from mambaseg_ros.bag.frames import find_topics
from mambaseg_ros.messages.images import image_from_message
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.messages.types import IMAGE_TYPE
from mambaseg_ros.sources.events import EventIntake

EVENTS_SHOWN_NS = 50_000_000
KEPT_NS, MOST_BYTES = 2_000_000_000, 1 << 28  # of events in memory
SHEET_WIDTH = 480  # pixels of one picture in the contact sheet
SHEET_ROWS = 4


@dataclass(frozen=True)
class PicturesSummary:
    """What was drawn."""

    images: int
    masks: int
    contact_sheet: Path


def draw_pictures(
    bag: Path,
    masks_bag: Path,
    out: Path,
    *,
    image_topic: str = "",
    events_topic: str = "",
    labels: str = "dsec_11",
    fps: float = 20.0,
) -> PicturesSummary:
    """Write one overlay PNG per mask, a film of them, and a contact sheet (image, events, overlay), each with a legend.

    Args:
        bag: a bag with images and events of any type that the node reads.
        masks_bag: a bag with `mono8` masks of images in `bag`; one without an image of its stamp is drawn over the
            newest image before it.
        out: folder for the pictures.
        image_topic: topic of the images; as of `find_topics`.
        events_topic: topic of the events; as of `find_topics`.
        labels: name of the label set that gives the colours.
        fps: pictures of the film per second.

    Raises:
        ValueError: a topic is missing, a mask has another size than its image, or there is no mask of an image's time
            or of the 10 s after it.
        OSError: the pictures cannot be written.
    """
    if labels not in LABEL_SETS:
        raise ValueError(f"label set {labels!r} is unknown; expected one of {', '.join(LABEL_SETS)}")
    label_set = LABEL_SETS[labels]
    masks = _read_masks(masks_bag)
    out.mkdir(parents=True, exist_ok=True)
    drawn = 0
    rows: list[Picture] = []
    intake = EventIntake(max_age_ns=KEPT_NS, max_bytes=MOST_BYTES)
    with Bag(bag) as reader, new_film(out / "overlay.mp4", fps) as film:
        topics = find_topics(reader, image_topic, events_topic)
        stamps_ns = image_stamps(reader, topics)
        image_of = images_of_masks(masks, stamps_ns)
        evenly = np.linspace(0, len(image_of) - 1, SHEET_ROWS if image_of else 0).round().astype(int)
        shown = {sorted(image_of)[index] for index in evenly}  # in the contact sheet
        reaches = intake.reaches
        for mask in read_drawn(reader, topics, image_of, add=intake.add, reaches=reaches, wait_ns=EVENTS_SHOWN_NS):
            image = in_rgb(image_from_message(mask.message))
            if (ids := masks[mask.time_ns]).shape != image.shape[:2]:
                raise ValueError(
                    f"the mask of {mask.time_ns} ns in {masks_bag} is {ids.shape[1]}x{ids.shape[0]} and the image "
                    f"{image.shape[1]}x{image.shape[0]}; expected one size: make the masks with mask_size 'image'"
                )
            overlay = label_set.overlay(image, ids)
            drawing = with_legend(overlay, label_set.legend)
            write_png(out / f"overlay_{mask.time_ns}.png", drawing)
            film.write(drawing)
            drawn += 1
            if mask.time_ns in shown:
                row = image, _event_picture(intake, mask.time_ns, image), overlay
                rows.append(np.hstack([_small(part) for part in row]))
        if not drawn:
            raise ValueError(
                f"{masks_bag} holds {len(masks)} masks, none of the time of the {len(stamps_ns)} images of {bag}: "
                "give the bag that the masks were made from"
            )
    sheet = out / "contact_sheet.png"
    write_png(sheet, with_legend(np.vstack(rows), [*EVENT_LEGEND, *label_set.legend]))
    return PicturesSummary(images=len(stamps_ns), masks=drawn, contact_sheet=sheet)


def _read_masks(bag: Path) -> dict[int, Picture]:
    masks = {}
    with Bag(bag) as reader:
        for topic, _, data in reader.messages([topic for topic in reader.topics if topic.type == IMAGE_TYPE]):
            message = reader.deserialize(topic, data)
            if message.encoding == "mono8":
                masks[stamp_to_ns(message.header.stamp)] = image_from_message(message)
    return masks


def _event_picture(intake: EventIntake, stamp_ns: int, image: Picture) -> Picture:
    """Draw the events before a stamp, at the sensor's resolution; white where there are none."""
    if intake.buffer is None:
        return np.full_like(image, 255)
    return event_picture(intake.buffer.window(stamp_ns, Window(duration_ns=EVENTS_SHOWN_NS)).polarity_map())


def _small(picture: Picture) -> Picture:
    height = round(SHEET_WIDTH * 3 / 4)
    return cv2.resize(picture, (SHEET_WIDTH, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
