"""`bag segment`: the node's masks of every image, without a node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.inference import Segmenter
from mambaseg_core.labels import DSEC_11
from mambaseg_core.pictures import read_image
from mambaseg_core.preprocessing import picture_preprocessing
from mambaseg_core.recordings.bag import Bag
from mambaseg_core.synth.dsec_drive import write_sequence
from mambaseg_ros.bag.convert import convert
from mambaseg_ros.bag.pictures import draw_pictures
from mambaseg_ros.bag.segment import MASK_TOPIC, segment
from mambaseg_ros.bag.types import ImageWriter, make_header, new_bag, typestore
from mambaseg_ros.messages.images import image_from_message
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.messages.types import COLUMNS_TYPE
from mambaseg_ros.model import check_reach, make_segmenter
from mambaseg_ros.parameters import Parameters, read_parameters

SMALL = ["model=mambaseg_nano", "weights=random", "image_height=32", "image_width=48", "device=cpu"]


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> tuple[DsecSequence, Path, Parameters]:
    """A short drive, its bag, and the parameters of a small model."""
    folder = tmp_path_factory.mktemp("drive")
    sequence = DsecSequence(write_sequence(folder, seconds=0.2, image_size=(90, 120), event_size=(80, 100)).path)
    convert(sequence.root, folder / "bag", storage="sqlite3")
    calibration = sequence.root / "calibration" / "cam_to_cam.yaml"
    return sequence, folder / "bag", read_parameters([*SMALL, f"calibration={calibration}"])


def masks(bag: Path) -> dict[int, np.ndarray]:
    with Bag(bag) as reader:
        assert {topic.name for topic in reader.topics} == {MASK_TOPIC}
        messages = [reader.deserialize(topic, data) for topic, _, data in reader.messages()]
    return {stamp_to_ns(message.header.stamp): image_from_message(message) for message in messages}


def test_every_image_gets_the_offline_mask(drive: Any, tmp_path: Path) -> None:
    sequence, bag, parameters = drive
    result = segment(bag, tmp_path / "out", parameters=parameters, warn=print)
    assert (result.images, result.masks, result.resumed) == (4, 4, 0)
    segmenter, got = make_segmenter(parameters, warn=print), masks(tmp_path / "out")
    setup = segmenter.preprocessing
    assert list(got) == sequence.image_times_ns.tolist()
    for index, stamp_ns in enumerate(got):
        events = sequence.window(stamp_ns, setup.window, setup.bins)
        edges_ns = setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)
        ids = segmenter.segment(sequence.image(index), events, edges_ns if len(events) else None).ids
        np.testing.assert_array_equal(got[stamp_ns], segmenter.to_camera(ids, (90, 120)))
    assert not list(tmp_path.glob(".out*"))


def test_an_interrupted_run_goes_on_with_the_same_settings_only(drive: Any, tmp_path: Path) -> None:
    _, bag, parameters = drive

    def interrupt(done: int, total: int) -> None:
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(bag, tmp_path / "out", parameters=parameters, warn=print, progress=interrupt)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"\.out\.masks is left from a run with other settings"):
        segment(bag, tmp_path / "out", parameters=replace(parameters, event_wait_ms=1.0), warn=print)
    result = segment(bag, tmp_path / "out", parameters=parameters, warn=print)
    assert (result.masks, result.resumed) == (4, 2)
    segment(bag, tmp_path / "whole", parameters=parameters, warn=print)
    whole = masks(tmp_path / "whole")
    for stamp_ns, mask in masks(tmp_path / "out").items():
        np.testing.assert_array_equal(mask, whole[stamp_ns])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_topic": "/camera"}, r"topic /camera is not in bag \S+ \(it has /events, /image\)"),
        ({"image_topic": "/events"}, "topic /events is of type mambaseg_ros/msg/EventArray"),
    ],
)
def test_wrong_topics_are_refused(drive: Any, tmp_path: Path, change: dict[str, str], message: str) -> None:
    _, bag, parameters = drive
    with pytest.raises(ValueError, match=message):
        segment(bag, tmp_path / "out", parameters=parameters, warn=print, **change)
    assert not list(tmp_path.iterdir())  # nothing is left that would refuse the next run


def test_masks_that_hang_on_earlier_ones_are_refused(drive: Any, tmp_path: Path) -> None:
    _, bag, parameters = drive
    with pytest.raises(ValueError, match="when_events_missing is 'hold'; expected 'image_only' or 'drop'"):
        segment(bag, tmp_path / "out", parameters=replace(parameters, when_events_missing="hold"), warn=print)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("speed=1", "'speed=1' sets no parameter"),
        ("device", "'device' sets no parameter"),
        ("buffer_ms=-1", "parameter 'buffer_ms' is -1.0; expected 10 to 60000"),
    ],
)
def test_wrong_parameters_are_refused(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_parameters([word])


def test_pictures_and_a_film_of_a_bag(drive: Any, tmp_path: Path) -> None:
    sequence, bag, parameters = drive
    segment(bag, tmp_path / "masks", parameters=parameters, warn=print)
    summary = draw_pictures(bag, tmp_path / "masks", tmp_path / "out")
    assert (summary.images, summary.masks) == (4, 4)
    stamps = [int(file.stem.split("_")[1]) for file in sorted((tmp_path / "out").glob("overlay_*.png"))]
    assert stamps == sequence.image_times_ns.tolist()
    film = cv2.VideoCapture(str(tmp_path / "out" / "overlay.mp4"))
    assert [film.read()[0] for _ in range(5)] == [True] * 4 + [False]
    overlay = read_image(tmp_path / "out" / f"overlay_{stamps[0]}.png")
    strip = overlay[sequence.image(0).shape[0] :].reshape(-1, 3)
    assert all((strip == color).all(axis=1).sum() >= 100 for color in DSEC_11.colors)
    sheet = cv2.imread(str(summary.contact_sheet))
    assert sheet.shape == (4 * 360 + 2 * 26, 3 * 480, 3)  # and two rows of legend
    events = sheet[-360:, 480:960]
    assert 0.002 < (events.min(axis=2) < 128).mean() < 0.9  # some are drawn, on white


def test_bags_without_the_topic_or_without_masks_are_refused(drive: Any, tmp_path: Path) -> None:
    _, bag, parameters = drive
    segment(bag, tmp_path / "masks", parameters=parameters, warn=print)
    with pytest.raises(ValueError, match="topic /camera is not in bag"):
        draw_pictures(bag, tmp_path / "masks", tmp_path / "out", image_topic="/camera")
    with pytest.raises(ValueError, match=r"holds 0 masks, none of the time of the 4 images"):
        draw_pictures(bag, bag, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*overlay.mp4"))


def thermal_bag(folder: Path) -> Path:
    """Five images, 50 ms apart, and thermal pictures of another camera of 9 Hz, half as large."""
    store, rng = typestore(), np.random.default_rng(0)
    sent = [(50 * n, "/image", (40, 60, 3)) for n in range(5)] + [(111 * n + 3, "/thermal", (20, 30)) for n in range(3)]
    with new_bag(folder / "thermal") as bag:
        writers = {topic: ImageWriter(bag, store, topic) for topic in ("/image", "/thermal")}
        for time_ms, topic, size in sorted(sent):
            stamp_ns = 10**18 + time_ms * 1_000_000
            picture = rng.integers(0, 256, size, dtype=np.uint8)
            writers[topic].write(stamp_ns, make_header(store, stamp_ns, "camera"), picture)
    return folder / "thermal"


def test_a_bag_of_a_second_camera(tmp_path: Path) -> None:
    bag = thermal_bag(tmp_path)
    model = create_model("mambaseg_nano", image_size=(32, 48), weights=None)
    save_checkpoint(tmp_path / "model.safetensors", model, picture_preprocessing((32, 48), repeat=10))
    parameters = read_parameters([f"weights={tmp_path / 'model.safetensors'}", "events_stale_ms=60"])
    result = segment(bag, tmp_path / "out", parameters=parameters, events_topic="/thermal", warn=print)
    assert (result.images, result.masks, dict(result.complaints)) == (5, 5, {})
    with Bag(bag) as reader:
        read = [(topic.name, reader.deserialize(topic, data)) for topic, _, data in reader.messages()]
    images, pictures = ([m for topic, m in read if topic == wanted] for wanted in ("/image", "/thermal"))
    segmenter = Segmenter(tmp_path / "model.safetensors", "cpu")
    for (stamp_ns, mask), image, nearest in zip(masks(tmp_path / "out").items(), images, (0, 0, 1, 1, 2), strict=True):
        assert stamp_ns == stamp_to_ns(image.header.stamp)
        found = segmenter.segment(image_from_message(image), image_from_message(pictures[nearest]))
        np.testing.assert_array_equal(mask, segmenter.to_camera(found.ids, (40, 60)))
    with pytest.raises(ValueError, match=r"topic /events is not in bag \S+ \(it has /image, /thermal\)"):
        segment(bag, tmp_path / "other", parameters=parameters, events_topic="/events", warn=print)
    with pytest.raises(ValueError, match="parameter 'calibration' is 'camera_info', but thermal images"):
        segment(bag, tmp_path / "third", parameters=replace(parameters, calibration="camera_info"), warn=print)
    with pytest.raises(ValueError, match="parameter 'buffer_ms' is 100; expected at least 110"):
        check_reach(replace(parameters, buffer_ms=100.0), segmenter.preprocessing)


def event_bag(path: Path, *, shift_ms: float, numbers: range | list[int] = range(1, 13)) -> Path:
    """Write 6 images, each late by a shift, and 12 packets of events of 25 ms with these numbers."""
    store = typestore()
    kind = store.types[COLUMNS_TYPE]
    with new_bag(path) as bag:
        images = ImageWriter(bag, store, "/image")
        events = bag.add_connection("/events", COLUMNS_TYPE, typestore=store)
        for index, number in enumerate(numbers):
            start_ns = 10**18 + index * 25_000_000
            x = np.arange(40, dtype=np.uint16)
            offsets = x.astype(np.uint32) * 600_000
            header = make_header(store, start_ns, "events")
            message = kind(header, 60, 80, number, x, x, offsets, (x % 2).astype(np.uint8))
            bag.write(events, start_ns + 25_000_000, store.serialize_cdr(message, COLUMNS_TYPE))
            if index % 2:
                stamp_ns = start_ns + 24_000_000 + round(shift_ms * (1e6 + index * 1e3))
                picture = np.full((60, 80), 90, np.uint8)
                images.write(start_ns + 25_000_001, make_header(store, stamp_ns, "camera"), picture)
    return path


def test_complaints_are_counted_by_kind_with_one_example(tmp_path: Path) -> None:
    bag = event_bag(tmp_path / "bag", shift_ms=300)
    result = segment(bag, tmp_path / "out", parameters=read_parameters(SMALL), warn=print)
    ((sentence, times),) = result.complaints.items()
    assert (times, result.masks) == (6, 6)
    assert sentence.startswith("events end 2")
    assert "before the image's stamp" in sentence


def test_complaints_of_images_that_cannot_be_read_are_one_kind(tmp_path: Path) -> None:
    store = typestore()
    with new_bag(tmp_path / "bag") as bag:
        images = ImageWriter(bag, store, "/image")
        bag.add_connection("/events", COLUMNS_TYPE, typestore=store)
        for index in range(4):
            images.write(index + 1, make_header(store, index, "camera"), np.zeros((60, 80), np.uint8))
    result = segment(tmp_path / "bag", tmp_path / "out", parameters=read_parameters(SMALL), warn=print)
    assert list(result.complaints.values()) == [4]


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [(range(1, 13), 0), ([1, 2, 3, 7, 8, 9, 10, 11, 12, 20, 21, 22], 10), ([1, 900, 2, 901, 3, 902] * 2, 0)],
    ids=["whole", "gaps", "two drivers"],
)
def test_messages_that_the_recorder_lost_are_counted(tmp_path: Path, numbers: Any, lost: int) -> None:
    bag = event_bag(tmp_path / "bag", shift_ms=0, numbers=numbers)
    result = segment(bag, tmp_path / "out", parameters=read_parameters(SMALL), warn=print)
    assert (result.images, result.masks, result.lost) == (6, 6, lost)
    assert not result.complaints
