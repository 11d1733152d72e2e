"""pyproject.toml, constraints.txt and environment.yml say the same, and the Makefile its targets."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from reproductions.harness.rooms import PACKAGES, normal_name, read_pins
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = read_pins(ROOT / "constraints.txt")
GROUPS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
ASKED = [(group, Requirement(text)) for group, texts in GROUPS.items() for text in texts]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def conda_pins() -> dict[str, Requirement]:
    """Return normalised name -> requirement of environment.yml's pip section."""
    (inner,) = (entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    return {normal_name(Requirement(text).name): Requirement(text) for text in inner}


@pytest.mark.parametrize(("group", "asked"), ASKED, ids=lambda value: getattr(value, "name", value))
def test_every_requirement_is_pinned_inside_its_range(group: str, asked: Requirement) -> None:
    assert normal_name(asked.name) in PINS, f"constraints.txt does not pin {asked.name}"
    assert asked.specifier.contains(PINS[normal_name(asked.name)])


def test_every_pin_is_exact() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    loose = [
        line for line in lines if line and line[0] != "#" and not re.match(r"[\w.-]+==\S", line)
    ]
    assert not loose
    assert all(Version(version) for version in PINS.values())


def test_torch_and_torchvision_belong_together() -> None:
    assert (PINS["torch"], PINS["torchvision"]) == ("2.13.0", "0.28.0")
    assert Requirement(next(t for t in GROUPS[""] if t.startswith("torch>"))).specifier.contains(
        "2.11"
    )


def test_conda_gets_the_same_packages_at_the_same_versions() -> None:
    wanted = {normal_name(asked.name): asked for group, asked in ASKED if group in ("", "dev")}
    found = conda_pins()
    assert set(found) == set(wanted)
    for name, requirement in found.items():
        assert str(requirement.specifier) == f"=={PINS[name]}", name
        assert requirement.extras == wanted[name].extras, name


def test_conda_asks_for_the_same_python_and_for_the_tools() -> None:
    plain = [entry for entry in CONDA["dependencies"] if isinstance(entry, str)]
    assert f"python{PROJECT['requires-python']}" in plain
    assert {"git", "make", "nodejs", "pip"} <= set(plain)


def test_what_a_stage_rests_on_is_pinned() -> None:
    assert {normal_name(name) for names in PACKAGES.values() for name in names} <= set(PINS)


def test_make_has_the_targets_that_readme_and_ci_name() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.M))
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", ".ci/run")]
    named = set(re.findall(r"^\s*make (\w+)", "\n".join(texts), re.M))
    assert {"figures", "test", "lint"} <= named <= targets
    assert {"check", "report", "bench"} <= targets


def test_files_that_are_read_at_run_time_are_packaged() -> None:
    package = ROOT / "reproductions"
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    patterns = tools["setuptools"]["package-data"]["*"]
    data = [path for path in package.rglob("*") if path.is_file() and _is_data(path)]
    lost = [path for path in data if not any(path.match(pattern) for pattern in patterns)]
    assert data and not lost


def _is_data(path: Path) -> bool:
    return path.suffix not in (".py", ".pyc")
