"""Facts that appear in several of package.xml, CITATION.cff, the workflow and the hooks are the same in all."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import yaml

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match, pattern
    return match[1]


def test_one_version_and_one_licence() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version, licence = found(r'^version = "(.+)"', PYPROJECT), found(r'^license = .*"(.+)"', PYPROJECT)
    assert (package.findtext("version"), package.findtext("license")) == (version, licence)
    assert (citation["version"], citation["license"]) == (version, licence)


def test_the_readme_and_the_citation_name_the_same_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    cited = {reference["identifiers"][0]["value"] for reference in citation["references"]}
    assert set(re.findall(r"\[(arXiv:[\d.]+)\]", (ROOT / "README.md").read_text())) == cited


def test_the_workflow_tries_the_oldest_and_the_newest() -> None:
    matrix = yaml.safe_load(WORKFLOW)["jobs"]["test"]["strategy"]["matrix"]
    oldest, newest = found(r'"torch>=([\d.]+)"', PYPROJECT), found(r"^TORCH \?= torch==(.+)$", MAKEFILE)
    assert matrix["torch"] == [f"{oldest}.0", newest]
    oldest_python = found(r'^requires-python = ">=(.+)"', PYPROJECT)
    newest_python = found(r"<= \(3, (\d+)\)", (ROOT / "tools" / "bootstrap.py").read_text())
    assert matrix["python"] == [oldest_python, f"3.{newest_python}"]


def test_the_workflow_names_targets_and_files_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", WORKFLOW)) == {"lint", "test"} <= targets
    names = set(re.findall(r"src/mambaseg/([\w./]+)", WORKFLOW))
    assert len(names) >= 4
    assert all((ROOT / name).exists() for name in names)


def test_the_hooks_are_the_tools_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert tools == {"ruff", "mypy"}
    assert all(re.search(rf"\b{tool}\b", found(r"^lint:.*\n\t@(.*)$", MAKEFILE)) for tool in tools)
