"""Tests that the examples of the README run, that it is short, and that its commands are where CI looks for them."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks_of(section, language):
    body = README.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", body, re.DOTALL | re.MULTILINE)


def test_python_example(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks_of("Python", "python")
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"\[\[ *2\.04 +54\.48\]\s+\[ *4\.29 +79\.97\]\]", printed)
    assert re.search(r"^[EV]{3} [23]$", printed, re.MULTILINE)  # the model with the least BIC
    assert printed.endswith("True\n")  # the saved model has the same score


def test_cython_lines_are_those_of_the_page():
    (code,) = blocks_of("Cython", "cython")
    page = (ROOT / "docs" / "cython.md").read_text(encoding="utf-8")
    lines = code.splitlines()
    assert len(lines) == 5
    assert lines[0] in page and "\n".join(lines[1:]) in page


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len(README.encode()) <= 8000
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path


def test_commands_are_where_ci_looks_for_them():
    for number in (1, 2):
        assert len(re.findall(rf"^<!-- command {number} -->\n```sh\n.+\n```$", README, re.MULTILINE)) == 1
