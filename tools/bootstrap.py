"""Create .venv with ROS 2 from wheels, torch and what mambaseg needs; do nothing if it is up to date.

The Makefile runs it with any Python 3.10 or later; it uses the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv"
ROS_FILES = {"kilted": "ros.txt", "jazzy": "ros_jazzy.txt"}
MAMBA_SSM = ROOT / "requirements" / "mamba_ssm.txt"
TRITON = ROOT / "requirements" / "triton.txt"
WITHOUT_KERNELS = {"MAMBA_FORCE_BUILD": "TRUE", "MAMBA_SKIP_CUDA_BUILD": "TRUE"}  # read by mamba_ssm's setup.py
APT_WAY = "install ROS 2 from apt instead and build with colcon (README, 'On a ROS 2 machine')"


def problems() -> list[str]:
    """Return what this machine lacks, each as one sentence."""
    found = []
    if sys.platform != "linux" or platform.machine() != "x86_64":
        machine = f"{sys.platform} {platform.machine()}"
        found.append(f"this machine is {machine}, but ROS 2 wheels exist for x86-64 Linux only: {APT_WAY}")
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        version = platform.python_version()
        found.append(f"Python is {version}, but 3.10 to 3.13 is needed: run make with PYTHON=python3.12, or {APT_WAY}")
    if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        found.append("Python's C headers are missing: install python3-dev (Debian, Ubuntu) or python3-devel (Fedora)")
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        found.append("no C++ compiler was found: install g++ (Debian, Ubuntu: apt install g++), or set CXX")
    if distribution() not in ROS_FILES:
        known = ", ".join(ROS_FILES)
        found.append(f"ROS is {distribution()!r}; expected one of {known}: run make with ROS=jazzy or without it")
    return found


def distribution() -> str:
    """Return the ROS 2 distribution whose wheels are installed."""
    return os.environ.get("ROS", "kilted")


def requirements() -> list[Path]:
    """Return the requirement files of that distribution."""
    return [ROOT / "requirements" / name for name in (ROS_FILES[distribution()], "python.txt")]


def fingerprint(torch: str) -> str:
    """Return a hash of the state that the environment should have."""
    content = b"".join(path.read_bytes() for path in (*requirements(), MAMBA_SSM, TRITON))
    return hashlib.sha256(content + torch.encode() + sys.version.encode()).hexdigest()


def run(*command: str | Path, **environment: str) -> None:
    """Run a command; exit with its name and status if it fails."""
    words = [str(part) for part in command]
    result = subprocess.run(words, cwd=ROOT, env={**os.environ, **environment}, check=False)
    if result.returncode:
        sys.exit(f"bootstrap: {' '.join(words)} failed with status {result.returncode}; see above")


def main() -> None:
    """Check the machine, then create the environment."""
    found = problems()
    if found:
        sys.exit("\n".join(f"bootstrap: {sentence}" for sentence in found))
    torch = os.environ.get("TORCH", "torch")
    marker = VENV / "mambaseg.sha256"
    if marker.is_file() and marker.read_text() == fingerprint(torch):
        print("bootstrap: .venv is up to date")
        return
    start = time.monotonic()
    what = f"ROS 2 {distribution()}, {torch} and libraries"
    print(f"bootstrap: creating .venv with {what} (about 3 GB, a few minutes)", flush=True)
    run(sys.executable, "-m", "venv", "--clear", VENV)
    python = VENV / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check")
    run(*pip, torch, *(part for path in requirements() for part in ("-r", path)))
    if subprocess.run([python, "-m", "pip", "--quiet", "show", "triton"], capture_output=True, check=False).returncode:
        run(*pip, "-r", TRITON)  # torch brought none; a CUDA build pins its own
    run(*pip, "--no-deps", "--no-build-isolation", "-r", MAMBA_SSM, **WITHOUT_KERNELS)
    run(python, ROOT / "tools" / "repair_ros_wheels.py")
    marker.write_text(fingerprint(torch))
    print(f"bootstrap: done in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
