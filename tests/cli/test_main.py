"""Tests of the command line as a process."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gmm_core.cli.main import main

FAITHFUL = str(Path(__file__).parents[2] / "examples" / "old_faithful.csv")


def command(*argv):
    # Without "-P", Python would import the uncompiled folder of a clone instead of the package.
    return [sys.executable, "-P", "-m", "gmm_core", *argv]


def test_module_runs_as_a_program(tmp_path):
    done = subprocess.run(
        command("fit", FAITHFUL, "-k", "2"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "log-likelihood" in done.stdout
    done = subprocess.run(
        command("fit", "x.csv"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stdout == ""


@pytest.mark.skipif(os.name != "posix", reason="pipes break with an error of their own elsewhere")
def test_reader_that_goes_away(tmp_path):
    np.save(tmp_path / "many.npy", np.random.default_rng(0).standard_normal((100_000, 2)))
    model = str(tmp_path / "model.npz")
    assert main(["fit", str(tmp_path / "many.npy"), "--out", model]) == 0
    with subprocess.Popen(
        command("predict", model, str(tmp_path / "many.npy")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=20) == 0


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("k", "progress"),
    [
        ("8", rb"fitting 8 components, \d+ s: iteration \d+, log-likelihood -\d+\.\d{4} per"),
        ("1:8", rb"0 of 8 fits"),
    ],
)
def test_progress_on_a_terminal_and_ctrl_c(tmp_path, k, progress):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((50_000, 4)))
    terminal, stderr = os.openpty()
    process = subprocess.Popen(
        command("fit", str(tmp_path / "x.npy"), "-k", k, "--tol", "0", "--max-iter", "1000000"),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    try:
        shown = b""
        deadline = time.perf_counter() + 60
        while not re.search(progress, shown):
            assert time.perf_counter() < deadline, shown[-200:]
            shown += os.read(terminal, 1000)
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert time.perf_counter() - start < 5  # this includes the exit of Python
    finally:
        process.kill()
        process.wait()
    tail = b""
    while b"interrupted\r\n" not in tail:
        tail += os.read(terminal, 1000)
    os.close(terminal)
    assert process.returncode == 130
    assert out == b""
    # The message begins on a line of its own, which is a new one or was erased.
    assert re.search(rb"(\n|\r\x1b\[K)gmm-core: interrupted\r\n$", shown + tail)
    assert b"Traceback" not in shown + tail
