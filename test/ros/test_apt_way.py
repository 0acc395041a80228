"""The way of a ROS 2 machine: ROS in one prefix, torch and ours in a second environment over it, NumPy 1.

/opt/ros is imitated by the ROS wheels in a prefix of their own, whose setup.bash is these variables. torch is not
installed again: the second environment links what does not come from the wheels.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check"]
BORROWED = ("torch", "torchgen", "functorch", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock",
            "typing_extensions.py", "fsspec", "h5py", "h5py.libs", "hdf5plugin", "safetensors", "yaml", "_yaml",
            "backports", "rosbags", "rich", "typer", "setuptools", "pkg_resources", "_distutils_hack", "lz4",
            "zstandard", "ruamel", "annotated_doc", "shellingham", "markdown_it", "mdurl", "pygments", "apsw",
            "click")  # fmt: skip

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def run(words: list[Any], env: dict[str, str]) -> str:
    result = subprocess.run([str(word) for word in words], env=env, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, f"{words}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def ros_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROS 2 alone, as apt would put it into /opt/ros."""
    prefix = tmp_path_factory.mktemp("opt_ros")
    own = dict(os.environ)
    run([*PIP, "--ignore-installed", "--prefix", prefix, "-r", ROOT / "requirements" / "ros.txt", "numpy<2"], own)
    site = prefix / "lib" / PYTHON / "site-packages"
    assert not (site / "torch").exists()
    code = f"import sys; sys.prefix = {str(prefix)!r}; sys.path.insert(0, 'tools'); import repair_ros_wheels; "
    code += "repair_ros_wheels.main()"
    run([sys.executable, "-c", code], {**own, "PYTHONPATH": str(site)})
    return prefix


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torch and our libraries, with NumPy 1 and an OpenCV that allows it; no ROS."""
    folder = tmp_path_factory.mktemp("ws") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", folder], dict(os.environ))
    site = folder / "lib" / PYTHON / "site-packages"
    import torch

    ours = Path(torch.__file__).parents[1]
    for name in BORROWED:
        if (ours / name).exists():
            (site / name).symlink_to(ours / name)
    constraints = ROOT / "requirements" / "numpy1.txt"
    run([*PIP, "--target", site, "--constraint", constraints, "numpy", "opencv-python-headless"], dict(os.environ))
    assert not (site / "rclpy").exists()
    return folder


def sourced(prefix: Path, **more: str) -> dict[str, str]:
    """The variables that `source /opt/ros/.../setup.bash` sets, and nothing of this environment."""
    site = prefix / "lib" / PYTHON / "site-packages"
    libraries = [prefix / "lib", *site.glob("ros_*.libs")]
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "ROS_LOG_DIR") if name in os.environ}
    return {
        **kept,
        "PATH": f"{prefix / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(site),
        "AMENT_PREFIX_PATH": str(prefix),
        "CMAKE_PREFIX_PATH": str(prefix),
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
        **more,
    }


def test_node_built_over_a_ros_prefix_runs_with_the_environments_torch(
    ros_prefix: Path, venv: Path, tmp_path: Path, domain: int, peer: Any, start: Callable[..., Any]
) -> None:
    env = sourced(ros_prefix)
    active = {**env, "PATH": f"{venv / 'bin'}:{env['PATH']}", "VIRTUAL_ENV": str(venv)}
    versions = run([venv / "bin" / "python", "-c", "import numpy, cv2, torch; print(numpy.__version__)"], active)
    assert versions.startswith("1.")
    colcon = [venv / "bin" / "python", "-m", "colcon", "--log-base", tmp_path / "log", "build", "--merge-install"]
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "mambaseg").symlink_to(ROOT)  # as a workspace has it, and never with the environment below it
    places = ["--build-base", tmp_path / "build", "--install-base", tmp_path / "install", "--base-paths"]
    run([*colcon, *places, tmp_path / "src"], active)

    setup = tmp_path / "install" / "setup.bash"
    parameters = "-p model:=mambaseg_ddd17 -p weights:=random -p image_height:=32 -p image_width:=48 -p device:=cpu"
    executable = tmp_path / "install" / "lib" / "mambaseg_ros" / "segmentation_node"
    assert executable.read_text().startswith(f"#!{venv}")
    shell = f"source {setup} && exec {executable} --ros-args {parameters}"
    peer.process = start("bash", "-c", shell, env={**env, "ROS_DOMAIN_ID": str(domain)})  # the venv is not active
    peer.wait_until_connected()
    import numpy as np

    peer.send_image(10**18, np.zeros((26, 34), np.uint8))
    peer.spin_until(lambda: len(peer.masks) == 1, "a mask")
    assert (peer.masks[0].height, peer.masks[0].width) == (26, 34)


def test_the_messages_alone_build_without_torch(ros_prefix: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    run([sys.executable, "-m", "venv", "--without-pip", bare], dict(os.environ))
    env = sourced(ros_prefix)
    active = {**env, "PATH": f"{bare / 'bin'}:{env['PATH']}"}
    code = "import importlib.util; print(importlib.util.find_spec('torch'))"
    assert run([bare / "bin" / "python", "-c", code], active).strip() == "None"
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "mambaseg").symlink_to(ROOT)
    colcon = [bare / "bin" / "python", "-m", "colcon", "--log-base", tmp_path / "log", "build", "--merge-install"]
    places = ["--build-base", tmp_path / "build", "--install-base", tmp_path / "install", "--base-paths"]
    run([*colcon, *places, tmp_path / "src", "--cmake-args", "-DMAMBASEG_MESSAGES_ONLY=ON"], active)
    code = "from mambaseg_ros.msg import EventArray; print(EventArray().get_fields_and_field_types()['x'])"
    said = run(["bash", "-c", f'cd / && source {tmp_path}/install/setup.bash && {bare}/bin/python -c "{code}"'], active)
    assert "uint16" in said
    assert not list((tmp_path / "install").rglob("mambaseg_core"))
