"""The examples of the README run, and print what it says."""

import re
import shutil
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_python_examples(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    exec(compile("\n".join(blocks), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("2 [[")       # components with the best BIC
    assert "True\n" in printed              # the saved model scores the same
    numbers = [float(x) for x in re.findall(r"\d\.\d+", printed)]
    for figure in (0.1420, 0.5472, 0.4528):
        assert str(figure).rstrip("0") in text
        assert any(abs(number - figure) < 5e-5 for number in numbers[-3:])


def test_what_goes_wrong_elsewhere_does_not_here():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## What goes wrong elsewhere")[1].split("\n## ")[0]
    preamble = re.search(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)[1]
    namespace = {}
    with warnings.catch_warnings():
        exec(compile(preamble, "README.md", "exec"), namespace)
        rows = re.findall(r"^\| .* \| `([^`]+)` \|$", section, re.MULTILINE)
        assert len(rows) == 12
        for row in rows:
            assert eval(row, namespace), row


def test_commands_are_where_ci_looks_for_them():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for number in (1, 2):
        assert len(re.findall(rf"^<!-- command {number} -->\n```sh\n.+\n```$", text, re.MULTILINE)) == 1
