"""Training as a library: the files of a run, exact resumption, and refusals."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import RichProgressBar
from safetensors.torch import load_file

from mambaseg_core import precision
from mambaseg_core.checkpoint import create_model, load_checkpoint, save_checkpoint
from mambaseg_core.events import Window
from mambaseg_core.training import run as run_module
from mambaseg_core.training import state as state_files
from mambaseg_core.training.callbacks import BAD_BATCH, BEST, LAST, METRICS, STATE, Bar, StoppedError
from mambaseg_core.training.config import TrainConfig
from mambaseg_core.training.data import make_preprocessing
from mambaseg_core.training.module import NonFiniteLossError, SegmentationModule, learning_rate
from mambaseg_core.training.run import train
from mambaseg_core.training.state import read_state

Configure = Callable[..., TrainConfig]
EXACT = {"loop.validate_every": 4, "loop.accumulate": 2}


def run(config: TrainConfig, folder: Path, *, resume: bool = False) -> Any:
    return train(config, folder, resume=resume, accelerator="cpu", progress=False)


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def assert_equal_runs(one: Path, other: Path) -> None:
    for name in (LAST, BEST):
        weights, others = load_file(one / name), load_file(other / name)
        assert weights.keys() == others.keys()
        assert all(torch.equal(tensor, others[key]) for key, tensor in weights.items()), name
    assert lines(one) == lines(other)


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def whole(configure: Configure, whole_folder: Path) -> Path:
    """Train without an interruption."""
    if not (whole_folder / LAST).is_file():
        run(configure(EXACT), whole_folder)
    return whole_folder


def test_a_run_folder_holds_weights_state_metrics_and_where_it_comes_from(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert names == {"config.yaml", "run.json", METRICS, STATE, LAST, BEST, "tensorboard"}
    assert any((whole / "tensorboard").glob("events.*"))
    found = lines(whole)
    assert [line["step"] for line in found if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in found if "validation" in line] == [2, 6]  # every 4, counted from the end
    about = json.loads((whole / "run.json").read_text())
    assert (about["seed"], about["steps"], about["starts"][0]["torch"]) == (0, 6, torch.__version__)
    model, setup = load_checkpoint(whole / LAST)
    assert (model.name, setup.size, setup.window.duration_ns) == ("mambaseg_nano", (64, 96), 50_000_000)


def test_old_images_come_with_the_configuration_and_are_the_same_for_any_number_of_workers(
    configure: Configure, tmp_path: Path
) -> None:
    found = []
    for age_ms, workers in ((0, 0), (100, 0), (100, 1)):
        folder = tmp_path / f"{age_ms}_{workers}"
        run(configure({"loop.steps": 2, "data.image_age_ms": age_ms, "data.workers": workers}), folder)
        found.append(lines(folder))
    assert found[0] != found[1] == found[2]
    with pytest.raises(ValueError, match=r"data\.image_age_ms is 50\.0, but the run in .* has 100\.0"):
        run(configure({"loop.steps": 2, "data.image_age_ms": 50}), tmp_path / "100_0", resume=True)


def test_the_loss_falls(configure: Configure, tmp_path: Path) -> None:
    run(configure({"loop.steps": 12}), tmp_path / "run")
    losses = [line["loss"] for line in lines(tmp_path / "run") if "loss" in line]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_a_network_that_weighs_its_modalities_learns_and_its_checkpoint_says_so(
    configure: Configure, tmp_path: Path
) -> None:
    result = run(configure({"loop.steps": 12, "model.reliability": True}), tmp_path / "run")
    losses = [line["loss"] for line in lines(tmp_path / "run") if "loss" in line]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    model, _ = load_checkpoint(result.last)
    torch.manual_seed(0)
    fresh = create_model("mambaseg_nano", image_size=(64, 96), reliability=True)
    judge = "reliabilities.0.image.decide.weight"
    assert not torch.equal(model.state_dict()[judge], fresh.state_dict()[judge])  # it was trained as well
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        of_image, of_events = model.eval().reliability(image, torch.zeros(1, 10, 64, 96))
    assert (of_image.shape, bool((of_image > 0).all()), bool(of_events.any())) == ((1, 64, 96), True, False)
    with pytest.raises(ValueError, match=r"model\.reliability is False, but the run in .* has True"):
        run(configure({"loop.steps": 12}), tmp_path / "run", resume=True)


def test_reliability_is_refused_where_the_model_has_none(configure: Configure, tmp_path: Path) -> None:
    changes = {"model.name": "mambaseg_dsec", "data.crop": None, "model.reliability": True}
    with pytest.raises(ValueError, match=r"reliability=True of 'mambaseg_dsec', which has none; expected one of"):
        run(configure(changes), tmp_path / "run")
    with pytest.raises(ValueError, match=r"loop\.trust is 0\.1, but mambaseg_nano has no reliability output"):
        run(configure({"loop.trust": 0.1}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


KILLED = """
import os, signal, sys, torch, yaml
from pathlib import Path
from mambaseg_core.training import run
from mambaseg_core.training.config import parse_config
from mambaseg_core.training.module import SegmentationModule

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell's children ignore it
step = SegmentationModule.training_step

def dying(self, batch, batch_idx):
    if self.global_step == 3 and batch_idx % 2 == 0:  # the first pass of two: the step is not done yet
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    return step(self, batch, batch_idx)

SegmentationModule.training_step = dying
run.train(parse_config(yaml.safe_load(sys.stdin), {}), Path(sys.argv[1]), accelerator="cpu", progress=False)
"""


def train_until_signal(config: TrainConfig, folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", KILLED, str(folder), name]
    return subprocess.run(words, input=json.dumps(config.to_dict()), capture_output=True, text=True, timeout=300)


def test_a_killed_run_goes_on_as_if_it_had_not_been(configure: Configure, whole: Path, tmp_path: Path) -> None:
    result = train_until_signal(configure(EXACT), tmp_path / "run", "SIGKILL")
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert read_state(tmp_path / "run" / STATE).step == 2
    run(configure({**EXACT, "data.cache": str(tmp_path / "cache")}), tmp_path / "run", resume=True)  # the same samples
    assert_equal_runs(whole, tmp_path / "run")
    assert [start["step"] for start in json.loads((tmp_path / "run" / "run.json").read_text())["starts"]] == [0, 2]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_stops_after_the_step_and_the_run_goes_on(
    configure: Configure, whole: Path, tmp_path: Path, name: str
) -> None:
    result = train_until_signal(configure(EXACT), tmp_path / "run", name)
    assert result.returncode != 0
    assert "stopped at step 4 of 6, as requested; --resume continues from there" in result.stderr
    assert read_state(tmp_path / "run" / STATE).step == 4
    if name == "SIGTERM":  # what goes on from there is the same
        run(configure(EXACT), tmp_path / "run", resume=True)
        assert_equal_runs(whole, tmp_path / "run")


def test_a_finished_run_is_not_repeated(configure: Configure, whole: Path) -> None:
    before = (whole / LAST).stat().st_mtime_ns
    result = run(configure(EXACT), whole, resume=True)
    assert (whole / LAST).stat().st_mtime_ns == before
    assert result.miou == lines(whole)[-1]["validation"]["miou"]


def test_a_folder_with_a_run_is_not_overwritten(configure: Configure, whole: Path) -> None:
    with pytest.raises(ValueError, match="holds a run already"):
        run(configure(EXACT), whole)


def test_another_configuration_does_not_go_on(configure: Configure, whole: Path) -> None:
    with pytest.raises(ValueError, match=r"optimizer\.lr is 0\.01, but the run in .* has 0\.001"):
        run(configure({**EXACT, "optimizer.lr": 0.01}), whole, resume=True)


def test_a_run_does_not_go_on_with_another_preprocessing(configure: Configure, whole: Path, tmp_path: Path) -> None:
    """The configuration may be the same, and mean something else for another root or in another version."""
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    model, setup = load_checkpoint(folder / LAST)
    save_checkpoint(folder / LAST, model, replace(setup, crop_bottom=40))
    with pytest.raises(ValueError, match=r"was trained with crop_bottom 40, now 0; expected the same"):
        run(configure(EXACT), folder, resume=True)


def test_a_run_of_an_earlier_version_goes_on_with_the_rows_that_it_cut(
    configure: Configure, whole: Path, tmp_path: Path
) -> None:
    """Its configuration says nothing of them, as the layout's were cut always."""
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    model, setup = load_checkpoint(folder / LAST)
    save_checkpoint(folder / LAST, model, replace(setup, crop_bottom=40))
    run(configure({**EXACT, "data.crop_bottom": 40}), folder, resume=True)
    with pytest.raises(ValueError, match=r"was trained with crop_bottom 40, now 20; expected the same"):
        run(configure({**EXACT, "data.crop_bottom": 20}), folder, resume=True)


def test_another_number_of_processes_does_not_go_on(
    configure: Configure, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="the run had 4 samples per step and would resume with 8"):
        run(configure(EXACT), whole, resume=True)


def test_a_damaged_state_is_named(configure: Configure, whole: Path, tmp_path: Path) -> None:
    for name in (STATE, "config.yaml"):
        (tmp_path / name).write_bytes((whole / name).read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"resume\.pt cannot be read"):
        run(configure(EXACT), tmp_path, resume=True)


def test_a_state_with_code_in_it_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save({"step": Evil()}, tmp_path / STATE)
    with pytest.raises(ValueError, match="cannot be read"):
        read_state(tmp_path / STATE)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("log_every", [1, 100])
def test_a_nan_loss_stops_before_anything_is_saved_and_says_which_batch(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_every: int
) -> None:
    def poisoned(self: SegmentationModule, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 3:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))
        return step(self, batch, batch_idx)

    step = SegmentationModule.training_step
    monkeypatch.setattr(SegmentationModule, "training_step", poisoned)
    with pytest.raises(NonFiniteLossError, match=r"the loss is nan at step 3, batch street_a/\d, street_a/\d"):
        run(configure({"loop.log_every": log_every}), tmp_path)
    record = json.loads((tmp_path / BAD_BATCH).read_text())
    assert record["step"] == 3
    assert [sample["sequence"] for sample in record["samples"]] == ["street_a", "street_a"]
    assert all(torch.isfinite(tensor).all() for tensor in load_file(tmp_path / LAST).values())
    assert read_state(tmp_path / STATE).step == 2


def test_the_progress_bar_reads_values_only_when_the_metrics_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading waits for the device."""
    losses = iter((0.5, 0.25))
    monkeypatch.setattr(RichProgressBar, "get_metrics", lambda *_: {"v_num": 0, "loss": next(losses)})
    module = SimpleNamespace(config=SimpleNamespace(loop=SimpleNamespace(log_every=3)))
    bar = Bar()
    assert [bar.get_metrics(SimpleNamespace(global_step=n), module) for n in (1, 2, 3)] == [
        {"loss": 0.5},
        {"loss": 0.5},
        {"loss": 0.25},
    ]


def test_a_full_disk_loses_no_previous_checkpoint(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: Any, file: Any) -> None:
        if state["step"] == 4:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(state, file)

    save = torch.save
    monkeypatch.setattr(state_files.torch, "save", full)
    with pytest.raises(OSError, match=r"resume\.pt cannot be written .*No space left"):
        run(configure(), tmp_path)
    assert not list(tmp_path.glob(".*"))
    assert read_state(tmp_path / STATE).step == 2
    load_checkpoint(tmp_path / LAST)
    monkeypatch.setattr(state_files.torch, "save", save)
    run(configure(), tmp_path, resume=True)
    assert read_state(tmp_path / STATE).step == 6


@pytest.mark.parametrize("what", ["state", "weights"])
def test_a_real_limit_on_the_disk_is_the_same_error(configure: Configure, tmp_path: Path, what: str) -> None:
    """The system's own error, here a limit on the size of files, is reported; torch wraps it in another."""
    code = """
import resource, sys
from pathlib import Path
import torch
from lightning.pytorch.callbacks import RichProgressBar
from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.training.state import RunState, write_state
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
path = Path(sys.argv[1])
try:
    if sys.argv[2] == "state":
        write_state(path, RunState(1, 1, {"w": torch.zeros(10**6)}, {}, {}, 0.0))
    else:
        save_checkpoint(path, create_model("mambaseg_nano"))
except OSError as error:
    print(error)
"""
    path = tmp_path / "file"
    path.write_bytes(b"previous")
    words = [sys.executable, "-c", code, str(path), what]
    result = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert "file cannot be written (File too large)" in result.stdout, result.stdout + result.stderr
    assert path.read_bytes() == b"previous"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_to_start_from_must_fit_and_are_used(configure: Configure, tmp_path: Path) -> None:
    setup = make_preprocessing(configure().data)
    for name, classes in (("eleven", 11), ("six", 6)):
        model = create_model("mambaseg_nano", num_classes=classes, image_size=(64, 96))
        save_checkpoint(tmp_path / name, model, setup)
    with pytest.raises(ValueError, match="has num_classes 6, but the model has 11"):
        run(configure({"model.weights": str(tmp_path / "six")}), tmp_path / "run")
    changes = {"model.weights": str(tmp_path / "eleven"), "loop.steps": 1, "optimizer.lr": 1e-12}
    run(configure(changes), tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / LAST)[1] == setup
    start, end = load_file(tmp_path / "eleven"), load_file(tmp_path / "run" / LAST)
    assert all(torch.allclose(tensor, end[name], atol=1e-6) for name, tensor in start.items())


@pytest.mark.parametrize("flag", ["avx2", "avx512_bf16"])
def test_a_precision_that_the_processor_runs_slowly_is_named(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setattr(precision, "read_cpu_flags", lambda: {flag})
    said: list[str] = []
    config = configure({"loop.precision": "bf16-mixed", "loop.steps": 1})
    train(config, tmp_path / "run", accelerator="cpu", progress=False, warn=said.append)
    expected = ["loop.precision is 'bf16-mixed', but this processor has no units"] if flag == "avx2" else []
    assert [sentence[:63] for sentence in said] == expected


@pytest.mark.parametrize(
    ("loop_precision", "fused"), [("32-true", True), ("tf32", True), ("bf16-mixed", False), ("16-mixed", False)]
)
def test_the_optimizer_is_fused_where_gradients_can_be_clipped_beside_it(
    configure: Configure, loop_precision: str, fused: bool
) -> None:
    config = configure({"loop.precision": loop_precision})
    model = create_model("mambaseg_nano", image_size=(32, 48))
    groups = SegmentationModule(model, config, 1).configure_optimizers().param_groups
    assert [group["fused"] for group in groups] == [fused, fused]


def test_tf32_is_refused_on_a_processor(configure: Configure, tmp_path: Path) -> None:
    config = configure({"loop.precision": "tf32", "loop.steps": 1})
    with pytest.raises(ValueError, match=r"loop\.precision is 'tf32' on the device 'cpu'; expected '32-true'"):
        train(config, tmp_path / "run", accelerator="cpu", progress=False)


@pytest.mark.parametrize("loop_precision", ["32-true", "tf32"])
def test_a_run_computes_in_tf32_only_if_asked(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop_precision: str
) -> None:
    seen = []
    monkeypatch.setattr(run_module, "_refuse_tf32_on_cpu", lambda *_: None)
    monkeypatch.setattr(run_module, "_warn_of_precision", lambda *_: None)
    monkeypatch.setattr(
        SegmentationModule, "on_train_start", lambda _: seen.append(torch.get_float32_matmul_precision()), raising=False
    )
    config = configure({"loop.precision": loop_precision, "loop.steps": 1})
    train(config, tmp_path / "run", accelerator="cpu", progress=False)
    assert seen == ["high" if loop_precision == "tf32" else "highest"]
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_run_keeps_its_own_preprocessing_and_warns_if_the_weights_to_start_from_had_another(
    configure: Configure, tmp_path: Path
) -> None:
    setup = make_preprocessing(configure().data)
    before = replace(setup, window=Window(count=100_000))
    save_checkpoint(tmp_path / "start", create_model("mambaseg_nano", image_size=setup.size), before)
    config, said = configure({"model.weights": str(tmp_path / "start"), "loop.steps": 1}), list[str]()
    train(config, tmp_path / "run", accelerator="cpu", progress=False, warn=said.append)
    (sentence,) = said
    assert sentence.startswith(f"{tmp_path / 'start'} was trained with window Window(")
    assert "now Window(duration_ns=50000000" in sentence
    assert load_checkpoint(tmp_path / "run" / LAST)[1] == load_checkpoint(tmp_path / "run" / BEST)[1] == setup


def test_a_model_of_one_size_refuses_crops(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"crop is \[32, 48\] and data\.size \[64, 96\], but mambaseg_dsec takes"):
        run(configure({"model.name": "mambaseg_dsec"}), tmp_path / "run")


def test_a_folder_without_data_is_named(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere', which is no folder"):
        run(configure({"data.root": str(tmp_path / "nowhere")}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("schedule", "last"), [("constant", 1.0), ("linear", 0.1), ("cosine", 0.0245)])
def test_learning_rates_by_hand(configure: Configure, schedule: str, last: float) -> None:
    config = configure({"optimizer.schedule": schedule, "optimizer.lr": 1.0}).optimizer  # warmup 2
    assert [learning_rate(config, step, 12) for step in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert learning_rate(config, 11, 12) == pytest.approx(last, abs=1e-4)


def test_a_single_modality_ignores_the_other(configure: Configure, tmp_path: Path) -> None:
    """The event encoder's first convolution gets no gradient from blank events."""
    run(configure({"data.inputs": "image", "loop.steps": 2, "optimizer.weight_decay": 0.0}), tmp_path / "one")
    torch.manual_seed(0)
    fresh = create_model("mambaseg_nano", image_size=(64, 96)).state_dict()
    trained = load_file(tmp_path / "one" / LAST)
    assert torch.equal(fresh["event_encoder.stem.conv1.weight"], trained["event_encoder.stem.conv1.weight"])
    assert not torch.equal(fresh["image_encoder.stem.conv1.weight"], trained["image_encoder.stem.conv1.weight"])


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(
    configure: Configure, config_file: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words += ["-m", "mambaseg_ros", "train", str(config_file), "--out", str(tmp_path / "two"), "--accelerator", "cpu"]
    words += ["--set", "loop.batch=1", "--set", "optimizer.clip=0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(words, capture_output=True, text=True, timeout=500, env=env)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads((tmp_path / "two" / "run.json").read_text())["starts"][0]["processes"] == 2
    run(configure({"optimizer.clip": 0.0}), tmp_path / "one")
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert [line["step"] for line in one] == [line["step"] for line in two]
    assert one[-1]["validation"]["miou"] == pytest.approx(two[-1]["validation"]["miou"], abs=0.02)
    weights, others = load_file(tmp_path / "one" / LAST), load_file(tmp_path / "two" / LAST)
    apart = torch.cat([(tensor - others[name]).abs().flatten() for name, tensor in weights.items()])
    # where a gradient is nothing but rounding, Adam makes a whole step of its sign
    assert (apart < 1e-5).float().mean() > 0.999


def test_a_stopped_run_is_an_own_error() -> None:
    assert not issubclass(StoppedError, (ValueError, OSError))


def test_without_lightning_the_command_says_what_to_install(config_file: Path, tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError('No module named lightning', name='lightning')\n"
    (tmp_path / "lightning.py").write_text(missing)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    words = [sys.executable, "-m", "mambaseg_ros", "train", str(config_file), "--out", str(tmp_path / "run")]
    env = {**os.environ, "COLUMNS": "200", "TERM": "dumb", "PYTHONPATH": path}
    result = subprocess.run(words, capture_output=True, text=True, timeout=300, env=env)
    assert result.returncode == 1
    assert "training needs lightning, which is not installed; install it with: pip install" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
