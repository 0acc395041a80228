"""`mambaseg bag convert`: images and events of two clocks, and the times of images in a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mambaseg_core.recordings.bag import Bag
from mambaseg_core.recordings.image_times import read_times
from mambaseg_core.synth.dsec_drive import SequenceSummary
from mambaseg_ros.bag.convert import convert
from mambaseg_ros.messages.stamps import stamp_to_ns

UNIX_US = 1_700_000_000_000_000
FIRST_US, LAST_US = 64, 64 + 200_000


def raw(path: Path, *, size: bool = True) -> Path:
    """Write EVT2 words: an event every millisecond for 200 ms, from 64 us after the sensor's start."""
    words = []
    for t_us in range(FIRST_US, LAST_US + 1, 1000):
        words += [0x8 << 28 | t_us >> 6, 1 << 28 | (t_us & 63) << 22 | 5 << 11 | 7]
    geometry = b"% geometry 640x480\n" if size else b""
    path.write_bytes(b"% evt 2.0\n" + geometry + b"% end\n" + np.array(words, "<u4").tobytes())
    return path


def folder(path: Path, times: str, *, count: int = 4) -> Path:
    """Write gray pictures 8.png, 9.png, 10.png, ... of values 8, 9, 10, ..., and their times."""
    path.mkdir()
    for number in range(8, 8 + count):
        cv2.imwrite(str(path / f"{number}.png"), np.full((12, 16), number, np.uint8))
    (path / "timestamps.txt").write_text(times)
    return path


def lines(first_us: int, count: int = 4) -> str:
    return "".join(f"{first_us + 50_000 * number}\n" for number in range(count))


def contents(bag: Path) -> tuple[list[tuple[int, int]], list[int]]:
    """Return (stamp, value) of each image, and the times of all events, nanoseconds."""
    images, events = [], []
    with Bag(bag) as reader:
        for topic, _, data in reader.messages():
            message = reader.deserialize(topic, data)
            stamp_ns = stamp_to_ns(message.header.stamp)
            if topic.name == "/image":
                images.append((stamp_ns, int(message.data[0])))
            else:
                events += (stamp_ns + message.t_offset_ns.astype(np.int64)).tolist()
    return images, events


def test_pictures_on_the_sensor_s_clock_are_converted_as_they_are(tmp_path: Path) -> None:
    images = folder(tmp_path / "pictures", lines(10_000))
    for name in ("._8.png", ".DS_Store", "Thumbs.db"):
        (images / name).touch()
    summary = convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=images)
    assert (summary.images, summary.events, summary.shift_ns) == (4, 201, 0)
    found, events = contents(tmp_path / "bag")
    assert found == [(10_000_000 + 50_000_000 * n, 8 + n) for n in range(4)]  # 9.png before 10.png
    assert (events[0], events[-1]) == (FIRST_US * 1000, LAST_US * 1000)


def test_two_clocks_are_refused_or_aligned_by_the_word(tmp_path: Path, mambaseg: Callable[..., Any]) -> None:
    source, images = raw(tmp_path / "a.raw"), folder(tmp_path / "pictures", lines(UNIX_US))
    words = ("bag", "convert", source, tmp_path / "bag", "--images", images)
    refused = mambaseg(*words)
    assert refused.returncode == 1
    assert "0 of the 4 images of" in refused.stdout
    assert "images from 1700000000.000000 to 1700000000.150000 s, events from 0.000064 to 0.200064 s" in refused.stdout
    assert "--align first" in refused.stdout
    assert refused.stdout.strip().count("\n") == 0
    assert not (tmp_path / "bag").exists()

    first = mambaseg(*words, "--align", "first")
    assert first.returncode == 0, first.stdout
    assert "events are 1699999999.999936000 s later than recorded" in first.stdout
    found, events = contents(tmp_path / "bag")
    assert events[0] == found[0][0] == UNIX_US * 1000
    assert events[-1] - events[0] == (LAST_US - FIRST_US) * 1000
    shutil.rmtree(tmp_path / "bag")

    assert mambaseg(*words, "--align", "stamp").returncode == 0
    found, events = contents(tmp_path / "bag")
    assert (found[0][0], events[0]) == (UNIX_US * 1000, FIRST_US * 1000)


@pytest.mark.parametrize(
    ("align", "shift_ns"),
    [("0.2s", 200_000_000), ("+200 ms", 200_000_000), ("200000us", 200_000_000), ("200000001ns", 200_000_001)],
)
def test_an_offset_is_added_to_the_events(tmp_path: Path, align: str, shift_ns: int) -> None:
    images = folder(tmp_path / "pictures", lines(210_000))
    with pytest.raises(ValueError, match="0 of the 4 images"):
        convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=images)
    assert convert(tmp_path / "a.raw", tmp_path / "bag", images=images, align=align).shift_ns == shift_ns
    assert contents(tmp_path / "bag")[1][0] == FIRST_US * 1000 + shift_ns


@pytest.mark.parametrize(
    ("align", "words"),
    [
        ("200", "--align is '200'; expected first, stamp, or a time with its unit"),
        ("second", "--align is 'second'; expected first, stamp"),
        ("1.5.2s", r"--align is '1\.5\.2s'"),
        ("-1ms", r"events of .*a\.raw would be from -0\.000936 to 0\.199064 s; expected 0 to 2\^31 s"),
        ("1e3s", "--align is '1e3s'"),
        ("99999999999s", r"expected 0 to 2\^31 s, the stamps that ROS has"),
        ("400ms", "0 of the 4 images"),
    ],
)
def test_an_alignment_that_cannot_be_is_refused(tmp_path: Path, align: str, words: str) -> None:
    images = folder(tmp_path / "pictures", lines(10_000))
    with pytest.raises(ValueError, match=words):
        convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=images, align=align)
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("first_us", [160_000, 10**6])
def test_images_that_are_mostly_beyond_the_events_are_refused(tmp_path: Path, first_us: int) -> None:
    images = folder(tmp_path / "pictures", lines(first_us))
    with pytest.raises(ValueError, match=r"^[01] of the 4 images of .* lie within the time of its events"):
        convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=images)


def test_images_beyond_the_events_are_said(tmp_path: Path) -> None:
    said: list[str] = []
    images = folder(tmp_path / "pictures", lines(110_000))
    assert convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=images, warn=said.append).images == 4
    assert said == [f"2 of the 4 images of {tmp_path / 'a.raw'} are before or after all of its events"]


def test_every_source_is_checked_and_aligned(tmp_path: Path, summary: SequenceSummary) -> None:
    root = Path(shutil.copytree(summary.path, tmp_path / "drive"))
    times = root / "images/timestamps.txt"
    before = np.loadtxt(times, np.int64)
    shutil.rmtree(root / "semantic")
    times.write_text("".join(f"{t}\n" for t in before - before[0] + UNIX_US))
    with pytest.raises(ValueError, match="0 of the 6 images"):
        convert(root, tmp_path / "bag")
    said: list[str] = []
    shutil.rmtree(root / "calibration")
    convert(root, tmp_path / "bag", align="first", warn=said.append)
    assert len(said) == 1
    assert "has no calibration/cam_to_cam.yaml, which the node" in said[0]
    assert contents(tmp_path / "bag")[1][0] == UNIX_US * 1000


def davis(path: Path, offset_us: int, times: str = "") -> Path:
    path.mkdir()
    table = np.stack([np.arange(0, 200_000, 1000), *np.zeros((3, 200))], 1).astype(np.int64)
    np.save(path / "events_txyp.npy", table)
    for number in range(3):
        cv2.imwrite(str(path / f"f{number}.png"), np.zeros((12, 16), np.uint8))
    rows = "".join(f"f{number}.png {offset_us + 50_000 * number}\n" for number in range(3))
    (path / "frames.txt").write_text(times or rows)
    return path


def test_davis_exports_are_checked_too(tmp_path: Path) -> None:
    assert convert(davis(tmp_path / "good", 0), tmp_path / "bag").images == 3
    with pytest.raises(ValueError, match="0 of the 3 images"):
        convert(davis(tmp_path / "late", UNIX_US), tmp_path / "other")
    with pytest.raises(ValueError, match=r"times in .*frames\.txt run backwards"):
        convert(davis(tmp_path / "back", 0, "f0.png 9\nf1.png 5\n"), tmp_path / "other")


def test_bags_are_checked_too(tmp_path: Path) -> None:
    images = folder(tmp_path / "pictures", lines(UNIX_US))
    convert(raw(tmp_path / "a.raw"), tmp_path / "two_clocks", images=images, align="stamp")
    with pytest.raises(ValueError, match="0 of the 4 images"):
        convert(tmp_path / "two_clocks", tmp_path / "bag")
    summary = convert(tmp_path / "two_clocks", tmp_path / "bag", align="first")
    assert (summary.images, summary.events) == (4, 201)
    found, events = contents(tmp_path / "bag")
    assert found[0][0] == events[0] == UNIX_US * 1000
    replaced = convert(tmp_path / "bag", tmp_path / "again", images=folder(tmp_path / "more", lines(UNIX_US + 1)))
    assert replaced.images == 4


def test_a_bag_without_images_takes_those_of_a_folder(tmp_path: Path) -> None:
    convert(raw(tmp_path / "a.raw"), tmp_path / "events", align="1s")
    with pytest.raises(ValueError, match=r"has no images on /image; .*: give a folder of pictures with --im"):
        convert(tmp_path / "events", tmp_path / "bag")
    images = folder(tmp_path / "pictures", lines(1_010_000))
    summary = convert(tmp_path / "events", tmp_path / "bag", images=images)
    assert (summary.images, summary.events) == (4, 201)


def test_a_folder_of_pictures_replaces_the_recording_s_own(tmp_path: Path, summary: SequenceSummary) -> None:
    times = np.loadtxt(summary.path / "images/timestamps.txt", np.int64)
    images = folder(tmp_path / "pictures", "".join(f"{t}\n" for t in times[:4]))
    assert convert(summary.path, tmp_path / "bag", images=images).images == 4
    assert [value for _, value in contents(tmp_path / "bag")[0]] == [8, 9, 10, 11]


def test_a_file_without_a_size_takes_it_from_the_command(tmp_path: Path, mambaseg: Callable[..., Any]) -> None:
    images = folder(tmp_path / "pictures", lines(10_000))
    words = ("bag", "convert", raw(tmp_path / "a.raw", size=False), tmp_path / "bag", "--images", images)
    refused = mambaseg(*words)
    assert refused.returncode == 1
    assert "--height and --width" in refused.stdout
    accepted = mambaseg(*words, "--height", 480, "--width", 640)
    assert accepted.returncode == 0, accepted.stdout


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        ("# time of exposure\n\n10000\n60000\n110000\n160000", "us"),
        ("timestamp\n10000\n60000\n110000\n160000\n", "us"),
        ("10000.0\n6e4\n110000.000\n160000\n", "us"),
        ("\ufeff10000\r\n60000\r\n110000\r\n160000\r\n", "us"),
        ("10000000\n60000000\n110000000\n160000000\n", "ns"),
        ("10\n60\n110.0\n160\n", "ms"),
        ("0.01\n0.06\n0.11\n0.16\n", "s"),
    ],
)
def test_times_are_read_in_their_unit(tmp_path: Path, times: str, unit: str) -> None:
    images = folder(tmp_path / "pictures", times)
    convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=images, images_unit=unit)
    stamps = [stamp for stamp, _ in contents(tmp_path / "bag")[0]]
    assert stamps == [10_000_000, 60_000_000, 110_000_000, 160_000_000]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ("10000000\n60000000\n110000000\n160000000\n", "fit if they are read as nanoseconds, not as microseconds"),
        ("10\n60\n110\n160\n", "4 images of .* are taken within 150 us, expected .* fit if they are read as millisec"),
        ("0\n1\n2\n3\n", "4 images of .* are taken within 3 us, expected at most 10,000 images a second"),
        (
            "0.01\n0.06\n0.11\n0.16\n",
            r"cannot be read \('0.01' in line 1\), expected whole microseconds .*--images-unit",
        ),
        ("1\n2\n1\n4\n", "run backwards at line 3"),
        ("1\n2\n3\n", "has 4 pictures and 3 times"),
        ("1\n2\n3\n4\n5\n", "has 4 pictures and 5 times"),
        ("", "has 4 pictures and 0 times"),
        ("1 2\n3 4\n", r"\('1 2' in line 1\)"),
        ("# start, end\n1,2\n3,4\n", r"\('1,2' in line 2\)"),
        ("1\n2\nthree\n4\n", r"\('three' in line 3\)"),
        ("-1\n2\n3\n4\n", r"\('-1' in line 1\)"),
        ("nan\n2\n3\n4\n", r"\('nan' in line 1\)"),
        ("1\n2\n3\n1e400\n", r"\('1e400' in line 4\)"),
        (lines(UNIX_US * 1000), r"\('1700000000000000000' in line 1\), expected whole microseconds from 0 to 2\^31 s"),
    ],
)
def test_times_that_do_not_fit_are_refused(tmp_path: Path, times: str, words: str) -> None:
    images = folder(tmp_path / "pictures", times)
    with pytest.raises(ValueError, match=words):
        convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=images)
    assert not (tmp_path / "bag").exists()


def test_a_folder_without_times_or_pictures_is_named(tmp_path: Path) -> None:
    source, images = raw(tmp_path / "a.raw"), folder(tmp_path / "pictures", "1\n")
    for given, words in (
        (tmp_path / "nowhere", r"nowhere has no timestamps\.txt \(found: no such folder\)"),
        (folder(tmp_path / "none", "", count=0), "the folder has 0 pictures and 0 times"),
    ):
        with pytest.raises(ValueError, match=words):
            convert(source, tmp_path / "bag", images=given)
    with pytest.raises(ValueError, match="--images-unit is 'hours'; expected one of s, ms, us, ns"):
        convert(source, tmp_path / "bag", images=images, images_unit="hours")
    (images / "timestamps.txt").write_bytes(b"\xff\xfe\0\1")
    with pytest.raises(ValueError, match=r"timestamps\.txt cannot be read"):
        read_times(images / "timestamps.txt")


def test_a_bag_of_two_sizes_is_segmented_with_a_calibration_or_the_word(
    tmp_path: Path, mambaseg: Callable[..., Any]
) -> None:
    images = folder(tmp_path / "pictures", lines(10_000))
    convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=images)
    words: list[object] = ["bag", "segment", tmp_path / "bag", tmp_path / "masks", "--weights", "random"]
    words += ["--model", "mambaseg_nano", "--set", "image_height=32", "--set", "image_width=48", "--device", "cpu"]
    refused = mambaseg(*words)
    assert refused.returncode == 1
    assert "the bag's images are 16x12 and its events 640x480, and there is no calibration" in refused.stdout
    assert not list(tmp_path.glob("*masks*"))  # nothing is left that would refuse the next run
    accepted = mambaseg(*words, "--registered")
    assert accepted.returncode == 0, accepted.stdout
    assert "4 masks of 4 images" in accepted.stdout


def test_a_bag_whose_images_have_no_events_says_it(tmp_path: Path, mambaseg: Callable[..., Any]) -> None:
    images = folder(tmp_path / "pictures", lines(UNIX_US))
    convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=images, align="stamp")
    words: list[object] = ["bag", "segment", tmp_path / "bag", tmp_path / "masks", "--weights", "random"]
    words += ["--model", "mambaseg_nano", "--set", "image_height=32", "--set", "image_width=48", "--device", "cpu"]
    answer = mambaseg(*words, "--registered")
    assert "4 times: events end" in answer.stdout
    assert "that both stamps are of one clock" in answer.stdout


def test_events_alone_are_converted_and_aligned_to_nothing(tmp_path: Path) -> None:
    source = raw(tmp_path / "a.raw")
    assert convert(source, tmp_path / "bag").images == 0
    assert convert(source, tmp_path / "late", align="2s").shift_ns == 2_000_000_000
    with pytest.raises(ValueError, match="--align is 'first' and there is no image; expected images"):
        convert(source, tmp_path / "first", align="first")


def test_a_size_for_a_file_that_has_one_is_refused(tmp_path: Path, mambaseg: Callable[..., Any]) -> None:
    convert(raw(tmp_path / "a.raw"), tmp_path / "bag", images=folder(tmp_path / "pictures", lines(10_000)))
    for path in (tmp_path / "bag", davis_ddd17(tmp_path / "dir1")):
        answer = mambaseg("info", path, "--height", 100, "--width", 200)
        assert answer.returncode == 1
        assert "200x100 is given, expected no size for a file that contains it; leave the size out" in answer.stdout
        assert mambaseg("info", path).returncode == 0


def davis_ddd17(path: Path) -> Path:
    path.mkdir()
    np.arange(10, dtype="<i8").tofile(path / "events.dat.t")
    np.zeros((10, 3), "<i2").tofile(path / "events.dat.xyp")
    return path
