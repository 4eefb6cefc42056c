"""Workflows, citation and templates of the repository agree with the Makefile and pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import composer

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYTHONS = [found[1] for c in PROJECT["classifiers"] if (found := re.search(r"Python :: (3\.\d+)$", c))]


def jobs(workflow: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(workflow.read_text())["jobs"]
    return content


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(workflow).values() for step in job["steps"]]


def test_there_is_a_workflow_for_tests_docs_and_package() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "package", "test"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_few_rights_and_known_actions(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {"contents": "read"}
    assert content["concurrency"]["cancel-in-progress"] is True
    # YAML 1.1 reads `on` as true.
    assert {"push", "pull_request"} <= set(content[True])
    for job in content["jobs"].values():
        assert job["runs-on"] == "ubuntu-latest"
        assert job["timeout-minutes"] <= 120
        assert set(job.get("permissions", {})) <= {"pages", "id-token"}
    for step in steps(workflow):
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/x@v1"))
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_the_commands_of_a_workflow_exist(workflow: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    run = [step["run"] for step in steps(workflow) if "run" in step]
    assert {target for text in run for target in re.findall(r"^make (\S+)", text, flags=re.MULTILINE)} <= targets
    for text in run:
        assert "${{" not in text  # what others write does not become part of a command


def test_every_supported_python_is_tested() -> None:
    matrices = [
        job["strategy"]["matrix"]["python"]
        for workflow in WORKFLOWS
        for job in jobs(workflow).values()
        if "strategy" in job
    ]
    assert matrices == [PYTHONS, PYTHONS]
    (test,) = (path for path in WORKFLOWS if path.stem == "test")
    assert "bash .ci/run" in [step.get("run") for step in jobs(test)["test"]["steps"]]


def test_the_citation_agrees_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == PROJECT["version"] == composer.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == [{"name": "The composer developers"}]
    assert {"message", "title", "abstract", "keywords"} <= set(citation)


def test_the_version_has_a_page_of_release_notes() -> None:
    assert (ROOT / "docs" / "releases" / f"{PROJECT['version']}.md").is_file()
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_a_form_for_issues_has_what_github_needs(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"input", "textarea"}
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
