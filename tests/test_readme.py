"""Tests that the examples of the README run, and print what it says."""

import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def blocks_of(text, section):
    body = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", body, re.DOTALL | re.MULTILINE)


def test_large_data(tmp_path, monkeypatch, capsys):
    """The example prints equal bits, a small loss in nats per sample, and an imputed and a denoised sample."""
    X = np.random.RandomState(0).randn(50_000, 2) + 5 * np.random.RandomState(1).randint(0, 3, (50_000, 1))
    np.save(tmp_path / "samples.npy", X)
    monkeypatch.chdir(tmp_path)
    code, on_cluster = blocks_of((ROOT / "README.md").read_text(encoding="utf-8"), "Large data")
    exec(compile(code, "README.md", "exec"), {})
    same, loss, filled, denoised = capsys.readouterr().out.splitlines()
    assert same == "True" and abs(float(loss)) < 0.01
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", filled)]
    assert len(numbers) == 4 and numbers[1] == numbers[3]
    moved = X[0] - [float(x) for x in re.findall(r"-?\d+\.\d+", denoised)]
    assert 0 < np.linalg.norm(moved) < 1
    assert [path.name for path in tmp_path.iterdir()] == ["samples.npy"]
    # the script runs in another process, because the workers import it
    (tmp_path / "script.py").write_text(on_cluster)
    made = subprocess.run(
        [sys.executable, "-P", "script.py"], capture_output=True, text=True, timeout=100
    )
    assert made.returncode == 0, made.stderr
    lazy, computed = made.stdout.splitlines()
    assert lazy.startswith("dask.array<") and re.fullmatch(r"\[\d \d \d\] -\d\.\d+", computed)


def test_python_examples(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = [block for section in ("Python", "What goes wrong elsewhere, and what happens here")
              for block in blocks_of(text, section)]
    assert len(blocks) == 6
    exec(compile("\n".join(blocks), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("2 [[")  # the number of components with the best BIC
    assert "True\n" in printed  # the saved model has the same score
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
