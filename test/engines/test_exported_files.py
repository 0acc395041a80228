"""Exported files in `Segmenter`, `predict`, `eval` and `bag segment`: the masks of the network they came from."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import SIZE, small_network

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.events import Events
from mambaseg_core.inference import Segmenter
from mambaseg_core.pictures import read_label
from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.bag.convert import convert
from mambaseg_ros.bag.segment import segment
from mambaseg_ros.messages.images import image_from_message
from mambaseg_ros.parameters import read_parameters

ENGINES = ("onnxruntime", "openvino")


def frame(seed: int) -> tuple[Any, Events]:
    rng = np.random.default_rng(seed)
    x, y, t_ns, p = (rng.integers(0, below, 5000) for below in (640, 480, 50_000_000, 2))
    image = rng.integers(0, 256, (480, 640, 3), np.uint8)
    return image, Events.from_arrays(x, y, np.sort(t_ns), p, height=480, width=640)


def opened(path: Path, **how: Any) -> Segmenter:
    if how.get("engine") == "openvino":
        pytest.importorskip("openvino", reason="needs openvino, which is not installed here: pip install openvino")
    return Segmenter(path, "cpu", **how)


def same(got: Any, expected: Any) -> None:
    np.testing.assert_array_equal(got.ids, expected.ids)
    np.testing.assert_allclose(got.confidence, expected.confidence, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["logits", "mask"])
def test_masks_are_those_of_the_network_with_both_inputs_or_one(
    exported: dict[str, Path], name: str, engine: str
) -> None:
    segmenter, plain = opened(exported[name], engine=engine), Segmenter(small_network("mambaseg_nano"), "cpu")
    segmenter.warm_up()
    assert (segmenter.model.engine.name, segmenter.warning, segmenter.precision) == (engine, "", "float32")
    assert (segmenter.preprocessing, segmenter.model.num_classes) == (plain.preprocessing, 11)
    image, events = frame(3)
    for inputs in ((image, events), (image, None), (None, events)):
        same(segmenter.segment(*inputs), plain.segment(*inputs))
    same(segmenter.segment(segmenter.prepare_image(image), events), plain.segment(image, events))


def test_a_file_of_one_input_and_of_several_frames_says_so_and_works(exported: dict[str, Path]) -> None:
    said: list[str] = []
    image, events = frame(4)
    plain = Segmenter(small_network("mambaseg_nano"), "cpu")
    alone = Segmenter(exported["pairs_of_images"], "cpu", warn=said.append)
    same(alone.segment(image, events), plain.segment(image, None))
    with pytest.raises(ValueError, match="neither input is one that the exported file takes; expected image"):
        alone.segment(None, events)
    assert "takes the input 'image' only, so its masks do not depend on events" in said[0]
    assert "takes 2 frames in one call, so a single mask costs what 2 do" in said[1]
    assert alone.warning == "; ".join(said)


def test_two_cameras_share_a_file_each_in_a_thread(exported: dict[str, Path]) -> None:
    first = Segmenter(exported["logits"], "cpu")
    frames = [frame(seed) for seed in range(6)]
    expected = [first.segment(*one).ids for one in frames]
    got: dict[int, list[Any]] = {}

    def work(camera: int, segmenter: Segmenter) -> None:
        got[camera] = [segmenter.segment(*one).ids for one in frames]

    threads = [threading.Thread(target=work, args=(number, first.for_camera(None))) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(np.array_equal(a, b) for camera in got.values() for a, b in zip(camera, expected, strict=True))
    assert sorted(got) == [0, 1]


def test_logits_that_are_not_finite_are_refused(exported: dict[str, Path]) -> None:
    for name in ("logits", "mask"):
        segmenter = Segmenter(exported[name], "cpu")
        run = segmenter.model.engine.run

        def broken(inputs: Any, run: Any = run) -> Any:
            return {key: np.full_like(x, np.nan) if x.dtype == np.float32 else x for key, x in run(inputs).items()}

        object.__setattr__(segmenter.model.engine, "run", broken)
        with pytest.raises(ValueError, match="logits are not all finite"):
            segmenter.segment(*frame(0))


def test_predict_writes_the_masks_of_the_network(
    exported: dict[str, Path], summary: Any, tmp_path: Path, mambaseg: Callable[..., Any]
) -> None:
    result = mambaseg("predict", exported["mask"], summary.path, tmp_path / "out", "--engine", "onnxruntime")
    assert result.returncode == 0, result.stdout
    sequence = DsecSequence(Path(summary.path))
    plain = Segmenter(small_network("mambaseg_nano"), "cpu", calibration=sequence.calibration)
    setup = plain.preprocessing
    for number, stamp_ns in enumerate(sequence.image_times_ns.tolist()):
        events = sequence.window(stamp_ns, setup.window, setup.bins)
        edges_ns = setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)
        ids = plain.segment(sequence.image(number), events, edges_ns).ids
        np.testing.assert_array_equal(read_label(tmp_path / "out" / "masks" / f"{number:06d}.png"), ids)


def test_eval_gives_equal_scores_for_logits_masks_and_several_frames(
    exported: dict[str, Path], streets: Path, tmp_path: Path, mambaseg: Callable[..., Any]
) -> None:
    scores, few = [], ("--workers", 0, "--batch", 3)
    for name in ("logits", "mask", "pairs_of_images"):
        result = mambaseg("eval", exported[name], streets, "--out", tmp_path / name, "--keep", "image", *few)
        assert result.returncode == 0, result.stdout
        found = json.loads((tmp_path / name / "scores.json").read_text())
        scores.append({key: value for key, value in found.items() if key not in ("about", "checkpoint")})
    assert scores[0] == scores[1] == scores[2]
    assert "class" in json.dumps(scores[0])
    refused = mambaseg("eval", exported["mask"], streets, "--workers", 0, "--flip")
    assert refused.returncode == 1
    assert "flip is set, but an exported file gives one mask of one size" in refused.stdout
    refused = mambaseg("eval", exported["mask"], streets, "--workers", 0, "--scales", 0.5)
    assert f"takes {SIZE[0]}x{SIZE[1]} only; leave --scales out" in refused.stdout


def test_bag_segment_takes_it_and_size_and_engine_are_held_to_the_file(
    exported: dict[str, Path], summary: Any, tmp_path: Path
) -> None:
    sequence = DsecSequence(Path(summary.path))
    convert(sequence.root, tmp_path / "bag", storage="sqlite3")
    calibration = sequence.root / "calibration" / "cam_to_cam.yaml"
    words = [f"weights={exported['logits']}", "device=cpu", f"calibration={calibration}"]
    result = segment(tmp_path / "bag", tmp_path / "out", parameters=read_parameters(words), warn=print)
    assert result.masks == result.images == len(sequence)
    plain = Segmenter(small_network("mambaseg_nano"), "cpu", calibration=sequence.calibration)
    setup = plain.preprocessing
    with Bag(tmp_path / "out") as reader:
        messages = [reader.deserialize(topic, data) for topic, _, data in reader.messages()]
    for number, (message, stamp_ns) in enumerate(zip(messages, sequence.image_times_ns.tolist(), strict=True)):
        events = sequence.window(stamp_ns, setup.window, setup.bins)
        edges_ns = setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)
        ids = plain.segment(sequence.image(number), events, edges_ns if len(events) else None).ids
        expected = plain.to_camera(ids, sequence.image(number).shape[:2])
        np.testing.assert_array_equal(image_from_message(message), expected)
    for word, sentence in (
        ("engine=torch", "engine is 'torch', but .* is run by onnxruntime or openvino; expected a checkpoint"),
        ("precision=bfloat16", "precision is 'bfloat16', but .* has its own"),
    ):
        with pytest.raises(ValueError, match=sentence):
            segment(tmp_path / "bag", tmp_path / "no", parameters=read_parameters([*words, word]), warn=print)
    sized = read_parameters([*words, "image_height=100", "image_width=140"])
    with pytest.raises(ValueError, match=r"image_height is 100 and image_width is 140, but .* takes 50x70 only"):
        segment(tmp_path / "bag", tmp_path / "no", parameters=sized, warn=print)


def test_an_engine_obeys_the_number_of_threads(exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    made: list[int] = []
    session = onnxruntime.InferenceSession

    def noted(data: bytes, options: Any, **how: Any) -> Any:
        made.append(options.intra_op_num_threads)
        return session(data, options, **how)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            Segmenter(exported["logits"], "cpu")
    finally:
        torch.set_num_threads(before)
    assert made == [1, 2]
