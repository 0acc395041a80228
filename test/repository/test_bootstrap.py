"""tools/bootstrap.py: the ROS 2 release of the wheels."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("ros", ["kilted", "jazzy"])
def test_each_distribution_has_its_requirements(ros: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS", ros)
    files = runpy.run_path(str(ROOT / "tools" / "bootstrap.py"))["requirements"]()
    assert len(files) == 2
    assert f"ros-{ros}-rclpy[fastrtps]==" in files[0].read_text()


def test_an_unknown_distribution_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS", "indigo")
    found = runpy.run_path(str(ROOT / "tools" / "bootstrap.py"))["problems"]()
    assert any("ROS is 'indigo'; expected one of kilted, jazzy" in sentence for sentence in found)


@pytest.mark.skipif(not (Path(sys.prefix) / "mambaseg.sha256").is_file(), reason="not the environment of make test")
def test_the_environment_of_make_test_checks_the_kernels_of_gpus() -> None:
    """Without Triton their tests would be skipped, in every run."""
    assert importlib.util.find_spec("triton") is not None


def test_a_change_of_mamba_ssm_makes_the_environment_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fingerprint = runpy.run_path(str(ROOT / "tools" / "bootstrap.py"))["fingerprint"]
    before = fingerprint("torch")
    changed = tmp_path / "mamba_ssm.txt"
    changed.write_text("mamba-ssm==1.0\n")
    monkeypatch.setitem(fingerprint.__globals__, "MAMBA_SSM", changed)
    assert fingerprint("torch") != before
