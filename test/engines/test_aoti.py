"""Packages of AOTInductor: the masks of their network, what they need, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import SIZE, small_network

from mambaseg_core import extension
from mambaseg_core.engines import aoti, aoti_code
from mambaseg_core.engines.engine import UnfitFileError
from mambaseg_core.events import Events
from mambaseg_core.export import aoti as export
from mambaseg_core.export.network import ExportForm
from mambaseg_core.inference import Segmenter

CPU = torch.device("cpu")
FORMS = {"logits": ExportForm(), "mask": ExportForm(inputs="image", outputs="mask", batch=2)}


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages of one network by what they return; tests must not change them."""
    if extension.MISSING:
        pytest.skip(f"needs the compiled operators: {extension.MISSING}")
    if not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("needs g++, which is not installed here: apt install g++")
    folder = tmp_path_factory.mktemp("packages")
    for name, form in FORMS.items():
        export.export_aoti(small_network("mambaseg_nano"), folder / f"{name}.pt2", form, device=CPU, frames=2)
    return {name: folder / f"{name}.pt2" for name in FORMS}


def frame(seed: int) -> tuple[Any, Events]:
    rng = np.random.default_rng(seed)
    x, y, t_ns, p = (rng.integers(0, below, 5000) for below in (640, 480, 50_000_000, 2))
    image = rng.integers(0, 256, (480, 640, 3), np.uint8)
    return image, Events.from_arrays(x, y, np.sort(t_ns), p, height=480, width=640)


def arrays(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.random((1, channels, *SIZE), np.float32) for name, channels in (("image", 3), ("second", 10))}


def rewritten(package: Path, to: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Write a package again with other files; `change` maps a name below the folder and data to data or None."""
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            if (data := change(name.partition("/")[2], old.read(name))) is not None:
                new.writestr(name, data)
    return to


def described(package: Path, to: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Write a package again with another description, which `change` makes of the old one in place."""

    def edit(name: str, data: bytes) -> bytes:
        if name != aoti.DESCRIPTION:
            return data
        values = json.loads(data)
        change(values)
        return json.dumps(values).encode()

    return rewritten(package, to, edit)


def refusal(path: Path, **how: Any) -> str:
    with pytest.raises(ValueError, match=path.name) as raised:
        Segmenter(path, **{"device": "cpu", **how})
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_masks_are_those_of_the_network_with_both_inputs_or_one(packages: dict[str, Path]) -> None:
    plain, segmenter = Segmenter(small_network("mambaseg_nano"), "cpu"), Segmenter(packages["logits"], "cpu")
    assert (segmenter.model.engine.name, segmenter.model.engine.provider, segmenter.warning) == ("aoti", "cpu", "")
    image, events = frame(3)
    for inputs in ((image, events), (image, None), (None, events)):
        got, expected = segmenter.segment(*inputs), plain.segment(*inputs)
        np.testing.assert_array_equal(got.ids, expected.ids)
        np.testing.assert_allclose(got.confidence, expected.confidence, atol=1e-5)


def test_a_package_of_masks_for_two_images_a_call(packages: dict[str, Path]) -> None:
    said: list[str] = []
    plain = Segmenter(small_network("mambaseg_nano"), "cpu")
    segmenter = Segmenter(packages["mask"], "cpu", engine="aoti", warn=said.append)
    image, events = frame(4)
    got, expected = segmenter.segment(image, events), plain.segment(image, None)
    np.testing.assert_array_equal(got.ids, expected.ids)
    np.testing.assert_allclose(got.confidence, expected.confidence, atol=1e-5)
    assert ["takes the input 'image' only" in said[0], "takes 2 frames in one call" in said[1]] == [True, True]
    images = np.concatenate([arrays(1)["image"], arrays(2)["image"]])
    outputs = aoti.load(packages["mask"]).run({"image": images})
    assert {name: (x.shape, x.dtype) for name, x in outputs.items()} == {
        "ids": ((2, *SIZE), np.uint8),
        "confidence": ((2, *SIZE), np.float32),
    }
    with torch.no_grad():
        expected_ids = small_network("mambaseg_nano")(torch.from_numpy(images), None).argmax(1)
    np.testing.assert_array_equal(outputs["ids"], expected_ids)


def test_a_package_says_what_it_was_made_of_and_for(packages: dict[str, Path]) -> None:
    values = json.loads(packages["logits"].with_suffix(".json").read_text())
    assert values == aoti.load(packages["logits"]).metadata
    assert [(check["engine"], check["same"], check["pixels"]) for check in values["check"]] == [("aoti", 1.0, 7000)]
    assert values["inputs"][1] == {"name": "second", "shape": [1, 10, *SIZE], "type": "float32", "values": "events"}
    assert (values["written_for"], "opset" in values) == ("aoti", False)
    made = values["aoti"]
    assert (made["torch"], made["device"], made["machine"]) == (torch.__version__, "cpu", os.uname().machine)
    assert len(made["code_sha256"]) == 64
    with zipfile.ZipFile(packages["logits"]) as archive:
        sources = "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(".cpp"))
    assert ("#pragma omp parallel" in sources, "num_threads(" in sources) == (True, False)  # as many as the caller has
    assert {flag for flag in ("avx2", "avx512f", "asimd") if f" {flag}" in Path("/proc/cpuinfo").read_text()} == {
        flag for flag in made["instruction_sets"] if flag in ("avx2", "avx512f", "asimd")
    }


ALONE = """
import os, sys, threading
from pathlib import Path
import numpy as np, torch
from mambaseg_core.engines import aoti
torch.set_num_threads(1)
package, inputs, folder = sys.argv[1:]
engine = aoti.load(Path(package))
values = dict(np.load(inputs))
one = engine.run(values)["logits"]
tasks = len(os.listdir("/proc/self/task"))
torch.set_num_threads(2)
two = engine.run(values)["logits"]
more = len(os.listdir("/proc/self/task")) - tasks
assert "torch._inductor.codecache" not in sys.modules
assert "torch._dynamo" not in sys.modules
print(more, np.abs(one - two).max(), os.listdir(os.environ["TMPDIR"]))
np.save(folder + "/one.npy", one)
"""


def test_it_runs_without_a_compiler_on_as_many_threads_as_torch_has(packages: dict[str, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", **arrays())
    (tmp_path / "temporary").mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("PATH", "OMP_NUM_THREADS")}
    environment |= {"PATH": "", "TMPDIR": str(tmp_path / "temporary")}
    words = [packages["logits"], tmp_path / "inputs.npz", tmp_path]
    ended = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, words)], env=environment, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (0, "1 0.0 []\n"), ended.stdout + ended.stderr
    with torch.no_grad():
        expected = small_network("mambaseg_nano")(*map(torch.from_numpy, arrays().values()))
    np.testing.assert_allclose(np.load(tmp_path / "one.npy"), expected, atol=1e-4)


def test_python_goes_on_while_it_runs_and_two_cameras_may_call_at_once(
    packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = aoti.load(packages["logits"])
    inputs = [arrays(seed) for seed in range(2)]
    expected = [engine.run(values)["logits"] for values in inputs]
    same: list[bool] = []
    turns, meanwhile, running = 0, [], True
    call = aoti_code.CompiledCode._call

    def counted(self: Any, *arguments: Any) -> None:
        before = turns
        call(self, *arguments)
        meanwhile.append(turns - before)

    def camera(number: int) -> None:
        for _ in range(25):
            same.append(np.array_equal(engine.run(inputs[number])["logits"], expected[number]))

    def count() -> None:
        nonlocal turns
        while running:
            turns += 1
            time.sleep(0)

    monkeypatch.setattr(aoti_code.CompiledCode, "_call", counted)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10)  # no thread loses Python's lock but by giving it up
    counter = threading.Thread(target=count)
    cameras = [threading.Thread(target=camera, args=(number,)) for number in range(2)]
    try:
        for thread in (counter, *cameras):
            thread.start()
        for thread in cameras:
            thread.join(60)
    finally:
        running = False
        counter.join(60)
        sys.setswitchinterval(interval)
    assert same == [True] * 50
    assert sum(more > 0 for more in meanwhile) >= 10  # 0 where a call keeps the lock


def test_a_package_that_is_loaded_again_takes_no_more_memory(packages: dict[str, Path]) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("mambaseg_aoti_")

    engines = [aoti.load(packages["logits"])]
    before = mapped()
    engines += [aoti.load(packages["logits"]) for _ in range(2)]
    assert mapped() == before > 0
    values = arrays()
    first, *others = (engine.run(values)["logits"] for engine in engines)
    assert all(np.array_equal(other, first) for other in others)


def test_inputs_are_checked_before_code_reads_them_by_their_address(packages: dict[str, Path]) -> None:
    engine, values = aoti.load(packages["logits"]), arrays()
    expected = engine.run(values)["logits"]
    strided = {name: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for name, x in values.items()}
    wide = {name: x.astype(np.float64) for name, x in values.items()}
    fixed = {name: x.copy() for name, x in values.items()}
    for x in fixed.values():
        x.setflags(write=False)
    for same in (strided, wide, fixed):
        np.testing.assert_array_equal(engine.run(same)["logits"], expected)
    for shape in ((1, 3, 50, 60), (2, 3, 50, 70), (3, 50, 70)):
        with pytest.raises(ValueError, match=rf"image has the shape \[{', '.join(map(str, shape))}\]; expected \[1, 3"):
            engine.run({**values, "image": np.zeros(shape, np.float32)})


def test_an_operator_that_fails_raises(packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    engine, values = aoti.load(packages["logits"]), arrays()
    with monkeypatch.context() as patch:  # doubles, beside packed weights in float32
        patch.setattr(aoti, "_tensor", lambda _name, value, _shape: torch.from_numpy(value).double())
        with pytest.raises(RuntimeError, match="its Run failed; the reason is on the standard error output"):
            engine.run(values)
    assert np.isfinite(engine.run(values)["logits"]).all()


@pytest.mark.parametrize("name", list(FORMS))
def test_inputs_that_are_not_finite_give_no_mask(name: str, packages: dict[str, Path]) -> None:
    network = Segmenter(packages[name], "cpu", warn=lambda _: None).model
    image, second = (torch.from_numpy(x[0]) for x in arrays().values())
    assert network.answer(image, second).facts.tolist() == [1]
    image[1, 3, 5] = torch.nan
    assert network.answer(image, second).facts.tolist() == [0]


def test_a_package_that_does_not_agree_is_not_written(
    packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_compile", lambda *_: Path(shutil.copy(packages["logits"], tmp_path / "made.pt2")))
    other = small_network("mambaseg_nano")
    with torch.no_grad():
        for weight in other.head.parameters():
            weight.neg_()
    with pytest.raises(ValueError, match=r"aoti: \d+\.\d+ % of 7000 pixels .*no file was written"):
        export.export_aoti(other, tmp_path / "net.pt2", ExportForm(), device=CPU, frames=2)
    assert [path.name for path in tmp_path.iterdir()] == ["made.pt2"]


def test_packages_for_other_machines_are_refused(packages: dict[str, Path], tmp_path: Path) -> None:
    package, machine = packages["logits"], os.uname().machine

    def of(name: str, change: Callable[[dict[str, Any]], Any]) -> str:
        return refusal(described(package, tmp_path / f"{name}.pt2", change))

    said = of("torch", lambda values: values["aoti"].update(torch="2.1.0"))
    assert f"was compiled for torch 2.1.0, but this is {torch.__version__}: export it again" in said
    said = of("sets", lambda values: values["aoti"]["instruction_sets"].append("avx9"))
    assert f"another processor ({machine}) than this one, which lacks avx9: export it again here" in said
    said = of("machine", lambda values: values["aoti"].update(machine="riscv64"))
    assert f"another processor (riscv64) than this one ({machine}): export it again here" in said
    assert "was compiled for 'cpu', but is asked for on 'cuda': set the device to 'cpu'" in refusal(
        package, device="cuda"
    )
    for_gpu = described(package, tmp_path / "gpu.pt2", lambda values: values["aoti"].update(device="cuda"))
    assert "was compiled for 'cuda', but is asked for on 'cpu'" in refusal(for_gpu)
    if not torch.cuda.is_available():
        assert "torch sees no CUDA device here: export it again, for 'cpu'" in refusal(for_gpu, device="auto")
    said = of("format", lambda values: values.update(format=2))
    assert "has a description of format 2, where this mambaseg reads 1: export it again" in said
    assert "cannot be used (KeyError: 'outputs')" in of("partial", lambda values: values.pop("outputs"))
    assert refusal(package, precision="bfloat16").count("has its own, which `mambaseg export` chose") == 1


def test_files_that_are_broken_or_of_others_are_refused(packages: dict[str, Path], tmp_path: Path) -> None:
    package, path = packages["logits"], tmp_path / "other.pt2"
    whole = package.read_bytes()
    for junk in (b"", b"junk", whole[:100_000], whole[100_000:]):
        path.write_bytes(junk)
        assert "is no package of `mambaseg export --format aoti`" in refusal(path)
    rewritten(package, path, lambda name, data: None if name == aoti.DESCRIPTION else data)
    assert "has no description of its model and inputs; expected a package of `mambaseg export`" in refusal(path)
    described(package, path, lambda values: values.pop("aoti"))
    assert "has no description of its model and inputs" in refusal(path)
    rewritten(package, path, lambda name, data: data[:-1] + b"!" if name.endswith(".so") else data)
    assert "holds other code than was written into it: copy or export it again" in refusal(path)
    assert "no such file" in refusal(tmp_path / "absent.pt2")


def test_no_changed_byte_is_run(packages: dict[str, Path], tmp_path: Path) -> None:
    package, path = packages["logits"], tmp_path / "changed.pt2"
    whole, values = package.read_bytes(), arrays()
    expected = aoti.load(package).run(values)["logits"]
    places = np.random.default_rng(0).integers(0, len(whole), 20).tolist()
    places += np.random.default_rng(1).integers(len(whole) - 1500, len(whole), 40).tolist()  # the archive's directory
    refused = 0
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            engine = aoti.load(path)
        except UnfitFileError:
            refused += 1
        else:
            np.testing.assert_array_equal(engine.run(values)["logits"], expected)
    assert refused >= 30


def test_code_that_cannot_run_here_is_refused(
    packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, path = packages["logits"], tmp_path / "odd.pt2"

    def with_code(change: Callable[[str, bytes], bytes | None]) -> str:
        rewritten(package, path, change)
        with zipfile.ZipFile(path) as archive:
            digest = aoti.code_hash({name: archive.read(name) for name in archive.namelist()})
        described(path, tmp_path / "named.pt2", lambda values: values["aoti"].update(code_sha256=digest))
        return refusal(tmp_path / "named.pt2")

    assert "cannot be loaded by torch (" in with_code(lambda name, data: b"no ELF" if name.endswith(".so") else data)
    assert "it holds 0 libraries" in with_code(lambda name, data: None if name.endswith(".so") else data)
    monkeypatch.setattr(aoti_code, "_PREFIX", "NoSuch")
    assert "cannot be loaded by torch (" in refusal(package)
    monkeypatch.setattr(aoti.extension, "MISSING", "no _C.so")
    assert "calls compiled operators, which do not work here: no _C.so" in refusal(package)
