"""Tests of the build files: the version of Python, the installed files, and the files that git ignores."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="the other Python is a POSIX shell script")


@posix
def test_an_old_python_is_refused_before_the_configuration(tmp_path: Path) -> None:
    """meson refuses an old Python itself, because pip compares requires-python only after the build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"
    # this interpreter, which answers meson's question for its version with 3.10
    old = tmp_path / "python3.10"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    old.write_text(f"#!/bin/sh\n'{sys.executable}' \"$@\" | sed 's/\"{version}\"/\"3.10\"/g'\n")
    old.chmod(0o755)
    (tmp_path / "old.ini").write_text(f"[binaries]\npython = '{old}'\n")
    scripts = os.path.dirname(sys.executable)
    done = subprocess.run(
        ["meson", "setup", "--native-file", tmp_path / "old.ini", tmp_path / "build", ROOT],
        env=os.environ | {"PATH": scripts + os.pathsep + os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"gmm_core needs Python 3.11 or later; this is Python 3.10, {old}" in done.stdout
    assert "OpenMP" not in done.stdout and "-march" not in done.stdout


def test_every_file_is_installed_once() -> None:
    text = (ROOT / "gmm_core" / "meson.build").read_text(encoding="utf-8")
    rooms = re.search(r"^rooms = \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    assert rooms is not None
    names = [
        f"{room}/{name}".lstrip("/")
        for room, sources in re.findall(r"^  '([^']*)': \[(.*?)\],$", rooms[1], re.DOTALL | re.MULTILINE)
        for name in re.findall(r"'([^']+)'", sources)
    ]
    assert len(names) == len(set(names))
    package = ROOT / "gmm_core"
    found = (file for file in package.rglob("*") if "__pycache__" not in file.parts)
    files = {file.relative_to(package).as_posix() for file in found if file.is_file()}
    assert set(names) == files - {"meson.build", "_build_config.py.in"}


def test_the_citation_has_the_version_of_the_build() -> None:
    build = (ROOT / "meson.build").read_text(encoding="utf-8")
    [version] = re.findall(r"^  version: '(.*)',$", build, re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [version]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[0] == version


def test_the_benchmark_is_installed_as_a_module() -> None:
    import gmm_core.cli

    installed = Path(gmm_core.cli.__file__).with_name("bench.py")
    assert installed.read_bytes() == (ROOT / "benchmarks" / "bench.py").read_bytes()


def test_git_ignores_the_files_that_examples_write(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git")
    written = [
        f"examples/{name}"
        for path in (ROOT / "examples").glob("*.py")
        for name in re.findall(r'"(\w+\.(?:png|npz|csv))"', path.read_text(encoding="utf-8"))
        if not (ROOT / "examples" / name).exists() or name.endswith(".png")
    ]
    assert "examples/china_segmented.png" in written
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    command = ["git", "check-ignore", *written]
    ignored = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert ignored.split() == written
