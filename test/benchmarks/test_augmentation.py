"""The script from end to end: train with and without a key, judge, and repeat nothing that is in the ledger."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def script(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(scripts)
    monkeypatch.setattr(os, "nice", lambda _: 0)  # this process goes on with other tests
    spec = importlib.util.spec_from_file_location("augmentation", scripts / "augmentation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_runs_differ_in_one_key_and_are_not_repeated(
    script: Any, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(streets), "--out", str(tmp_path), "--steps", "1", "--batch", "1", "--samples", "1", "--device", "cpu"]
    for change in ("size=[64,96]", "crop=[32,48]", "workers=0", "scale=[1,1]"):
        words += ["--set", f"data.{change}"]
    script.main([*words, "--keys", "none", "camera"])
    configs = [yaml.safe_load((tmp_path / f"{name}-1-0" / "config.yaml").read_text()) for name in ("none", "camera")]
    assert [config["data"].pop("camera") for config in configs] == [0.0, 0.6]
    assert configs[0] == configs[1]
    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert [(entry["augmentation"], entry["seed"]) for entry in ledger] == [("none", 0), ("camera", 0)]
    table = capsys.readouterr().out.splitlines()[-4:]
    assert [line.split(" | ")[:2] for line in table[2:]] == [["| none", "1"], ["| camera", "1"]]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    script.main([*words, "--keys", "camera"])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert capsys.readouterr().out.splitlines() == table
    script.main([*words, "--steps", "2", "--table"])  # other settings are other runs
    assert capsys.readouterr().out.strip() == "no run is finished"
