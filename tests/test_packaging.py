"""What the packaging files say of each other: ranges, pins, the conda file, make's targets."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from reproductions.harness.errors import UserError
from reproductions.harness.rooms import PACKAGES, environment_digest, normal_name, read_pins
from tests.conftest import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PINS = read_pins(ROOT / "constraints.txt")
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
PARTS = {"": PROJECT["project"]["dependencies"], **EXTRAS}
ASKED = [(part, text) for part, texts in PARTS.items() for text in texts]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = ("figures", "test", "check", "report", "bench", "lint")


def requirements(texts: list[str]) -> dict[str, Requirement]:
    """Return requirements by their normal names."""
    return {normal_name(text.name): text for text in map(Requirement, texts)}


@pytest.mark.parametrize(("part", "text"), ASKED, ids=[f"{p or 'core'}-{t}" for p, t in ASKED])
def test_a_requirement_is_pinned_inside_its_range(part: str, text: str) -> None:
    wanted = Requirement(text)
    assert wanted.specifier, f"{text} takes any version"
    pin = PINS.get(normal_name(wanted.name))
    assert pin is not None, f"constraints.txt does not pin {wanted.name}"
    assert wanted.specifier.contains(pin), f"{wanted.name}=={pin} is not {wanted.specifier}"


def test_every_constraint_is_one_exact_pin() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    stated = [line.partition("#")[0].strip() for line in lines]
    pinned = [Requirement(line) for line in stated if line]
    assert len(pinned) == len({normal_name(one.name) for one in pinned}) == len(PINS)
    for one in pinned:
        assert re.fullmatch(r"==[^*,]+", str(one.specifier)), f"{one} is not one version"
        Version(PINS[normal_name(one.name)])  # raises for what is no version


def test_the_conda_file_takes_the_same_packages_at_the_pins() -> None:
    (through_pip,) = (one["pip"] for one in CONDA["dependencies"] if isinstance(one, dict))
    taken, asked = requirements(through_pip), requirements(PARTS[""] + EXTRAS["dev"])
    assert taken.keys() == asked.keys()
    for name, one in taken.items():
        assert str(one.specifier) == f"=={PINS[name]}", name
        assert one.extras == asked[name].extras, name


def test_every_file_asks_for_the_same_python() -> None:
    wanted = PROJECT["project"]["requires-python"]
    least = re.fullmatch(r">=(3)\.(\d+)", wanted)
    assert least
    assert f"python{wanted}" in CONDA["dependencies"]
    assert f"sys.version_info < ({least[1]}, {least[2]})" in MAKEFILE
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{least[1]}{least[2]}"
    assert PROJECT["tool"]["mypy"]["python_version"] == f"{least[1]}.{least[2]}"
    assert f"Python {least[1]}.{least[2]} or newer" in (ROOT / "README.md").read_text("utf-8")


def test_public_ci_runs_a_python_that_is_asked_for() -> None:
    flow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    versions = flow["jobs"]["test"]["strategy"]["matrix"]["python"]
    wanted = SpecifierSet(PROJECT["project"]["requires-python"])
    assert versions and all(wanted.contains(version) for version in versions)
    assert wanted.contains(min(versions, key=Version))
    assert any(step.get("run") == ".ci/run" for step in flow["jobs"]["test"]["steps"])


def test_torch_and_torchvision_belong_together() -> None:
    asked = requirements(PARTS[""])
    least = {name: str(asked[name].specifier).removeprefix(">=") for name in asked}
    for versions in (PINS, least):
        torch, vision = Version(versions["torch"]), Version(versions["torchvision"])
        assert (torch.major, vision.major, vision.minor) == (2, 0, torch.minor + 15)


def test_conda_brings_the_tools_and_no_package_twice() -> None:
    outside = [one for one in CONDA["dependencies"] if isinstance(one, str)]
    names = {re.split(r"[<>= ]", one)[0] for one in outside}
    assert {"git", "make", "nodejs", "pip"} <= names
    (through_pip,) = (one["pip"] for one in CONDA["dependencies"] if isinstance(one, dict))
    assert len(names) == len(outside)
    assert not names & requirements(through_pip).keys()


# ---------------------------------------------------------------- what makes a job stale


def test_every_package_that_a_stage_depends_on_is_pinned() -> None:
    for stage, names in PACKAGES.items():
        assert set(names) <= PINS.keys(), stage


def test_the_digest_of_an_environment_sees_its_own_pins_only(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        (tmp_path / "constraints.txt").write_text(text, encoding="utf-8")
        return environment_digest(tmp_path, ("numpy", "no-such-package"))

    before = digest("numpy==1.0\nruff==1.0\n")
    assert digest("# a note\nNumPy==1.0  # another\nruff==2.0\n") == before
    assert digest("numpy==1.1\nruff==1.0\n") != before
    assert digest("ruff==1.0\n") != before


def test_pins_are_read_as_indexes_compare_them(tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text('A_b.C==1.0 ; python_version > "3"\n\n# d==2\ne>=3\nf[x]==4\n', "utf-8")
    assert read_pins(file) == {"a-b-c": "1.0", "f": "4"}
    with pytest.raises(UserError, match="absent.txt: not readable"):
        read_pins(tmp_path / "absent.txt")


# ---------------------------------------------------------------- make


def rules() -> dict[str, str]:
    """Return target -> recipe of the Makefile."""
    found = re.findall(r"^([a-z]+):[^=\n]*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    return dict(found)


def test_make_has_the_documented_targets_and_only_those() -> None:
    assert set(rules()) == set(TARGETS)
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)
    assert set(phony.split()) == set(TARGETS)


def test_make_without_a_target_makes_the_figures() -> None:
    assert next(iter(rules())) == "figures"


@pytest.mark.parametrize("file", ["README.md", ".ci/run", ".github/workflows/ci.yml", "Makefile"])
def test_a_make_command_that_is_written_somewhere_exists(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    named = set(re.findall(r"^\W{0,5}make ([a-z]+)\b", text, re.M))
    assert named <= set(TARGETS)
    if file in ("README.md", ".ci/run"):
        assert "test" in named


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", TARGETS)
def test_make_can_plan_a_target(target: str) -> None:
    planned = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert planned.returncode == 0, planned.stderr
    said = {"test": "pytest", "lint": "mypy", "bench": "tests/benchmarks", "figures": "snakemake"}
    assert said.get(target, target) in planned.stdout


def test_make_installs_the_pins() -> None:
    installs = [line for line in MAKEFILE.splitlines() if "pip install" in line]
    assert installs and all("-c constraints.txt" in line for line in installs)
    extras = {name for line in installs for name in re.findall(r"\.\[(.*)\]", line)[0].split(",")}
    assert extras == set(EXTRAS)


# ---------------------------------------------------------------- the package


def test_every_file_of_the_package_is_installed() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    files = [path for path in (ROOT / "reproductions").rglob("*") if path.is_file()]
    data = [path for path in files if path.suffix not in (".py", ".pyc")]
    assert data
    for path in data:
        assert any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns), path
    for pattern in patterns:
        assert any(fnmatch.fnmatch(path.name, pattern) for path in data), f"{pattern} is of no use"


def test_setuptools_finds_every_folder_of_the_package() -> None:
    find = PROJECT["tool"]["setuptools"]["packages"]["find"]
    folders = {path.parent for path in (ROOT / "reproductions").rglob("*.py")}
    for folder in folders:
        name = ".".join(folder.relative_to(ROOT).parts)
        assert any(fnmatch.fnmatch(name, pattern) for pattern in find["include"]), name
        assert (folder / "__init__.py").is_file(), folder


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    version = PROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["version"] == version
    assert citation["license"] == PROJECT["project"]["license"]
    assert re.search(r"^## (\S+)", changes, re.M)[1] == version  # type: ignore[index]


def test_mypy_reads_every_folder_of_code_that_rooms_share() -> None:
    folders = [path.parent for path in (ROOT / "reproductions").glob("*/__init__.py")]
    names = {f"reproductions.{folder.name}" for folder in folders if folder.name != "papers"}
    assert set(PROJECT["tool"]["mypy"]["packages"]) == names
