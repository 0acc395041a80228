"""The image's packages are those of package.xml, and what it copies exists."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
WORKFLOW = (ROOT / ".github" / "workflows" / "docker.yml").read_text()


def test_every_package_of_the_manifest_is_installed() -> None:
    tags = ("buildtool_depend", "depend", "exec_depend")
    root = ElementTree.parse(ROOT / "package.xml").getroot()
    names = {str(found.text).replace("_", "-") for tag in tags for found in root.findall(tag)}
    assert len(names) >= 12
    installed = set(re.findall(r'"ros-\$ROS_DISTRO-([\w-]+)"', DOCKERFILE)) | set(
        re.findall(r" (python3-\w+)", DOCKERFILE)
    )
    assert names <= installed


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    ignored = {line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")}
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
    assert len(copied) == 4
    for path in copied:
        assert (ROOT / path).exists(), path
        assert path.split("/")[0] not in ignored
    for needed in ("CMakeLists.txt", "cmake", "config", "csrc", "launch", "mambaseg_core", "mambaseg_ros", "msg"):
        assert needed not in ignored
        assert (ROOT / needed).exists()


def test_the_arguments_of_the_page_and_the_workflow_are_those_of_the_file() -> None:
    page = (ROOT / "docs" / "docker.md").read_text()
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert arguments == set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))
    used = set(re.findall(r"--build-arg (\w+)=", page + WORKFLOW))
    assert used
    assert used <= arguments


def test_the_entry_point_runs_a_command_with_the_workspace(tmp_path: Path) -> None:
    """Run it with its folders moved: three files to source, in order, then the command."""
    script = (ROOT / "docker" / "entrypoint.sh").read_text()
    sourced = re.findall(r'^source "?(/[^"\n]+)"?$', script, re.MULTILINE)
    assert sourced == ["/opt/ros/$ROS_DISTRO/setup.bash", "/ws/venv/bin/activate", "/ws/install/setup.bash"]
    for number, path in enumerate(sourced):
        file = tmp_path / path.replace("$ROS_DISTRO", "kilted")[1:]
        file.parent.mkdir(parents=True)
        file.write_text(f"export ORDER=${{ORDER}}{number}\n")
    moved = tmp_path / "entrypoint.sh"
    moved.write_text(script.replace("/opt/", f"{tmp_path}/opt/").replace("/ws/", f"{tmp_path}/ws/"))
    command = ["bash", str(moved), "bash", "-c", 'echo "$ORDER $1"', "bash", "two words"]
    done = subprocess.run(
        command, env={"ROS_DISTRO": "kilted", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.stdout == "012 two words\n", done.stderr


def test_the_workflow_builds_each_distribution_on_both_bases() -> None:
    yaml = pytest.importorskip("yaml")
    matrix = yaml.safe_load(WORKFLOW)["jobs"]["image"]["strategy"]["matrix"]
    assert matrix == {"ros": ["humble", "jazzy", "kilted"], "kind": ["cpu", "cuda"]}
