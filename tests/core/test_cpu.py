"""Tests that the instruction sets of the processor are recognised (src/cpu.h)."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gmm_core import _cpu

SRC = Path(__file__).parents[2] / "src"
CPUINFO = Path("/proc/cpuinfo")
# The instruction sets that a compiler may use with -march=x86-64-v3 and -v4, from the System V ABI, by the names that
# Linux gives them.
V3 = set(
    "cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave".split()
)
V4 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}

x86_64 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the levels are those of x86-64"
)


@x86_64
@pytest.mark.skipif(not CPUINFO.exists(), reason="this system has no /proc/cpuinfo")
def test_levels_are_those_that_linux_reports() -> None:
    [flags, *_] = re.findall(r"^flags\s*: (.*)$", CPUINFO.read_text(), re.MULTILINE)
    found = set(flags.split())
    expected = ["base"]
    if found >= V3:
        expected += ["v3", "v4"] if found >= V4 else ["v3"]
    assert _cpu.supported_levels() == tuple(expected)


# This replaces the compiler's <cpuid.h>, and pretends that the processor lacks one bit of cpuid.
FAKE = """
static unsigned missing_leaf, missing_bit;
static int __get_cpuid(unsigned leaf, unsigned *a, unsigned *b, unsigned *c, unsigned *d) {
    *a = *b = *d = 0;
    *c = leaf == missing_leaf ? ~(1u << missing_bit) : ~0u;
    return 1;
}
"""
PROGRAM = """
#include <stdio.h>
#include "cpu.h"
int main(void) {
    unsigned leaves[] = {1, 0x80000001};
    printf("%d %d\\n", cpu_has_v3(), cpu_has_v4());
    for (int leaf = 0; leaf < 2; leaf++)
        for (missing_bit = 0; missing_bit < 32; missing_bit++) {
            missing_leaf = leaves[leaf];
            if (!cpu_has_v3() && !cpu_has_v4()) printf("%d %u\\n", leaf, missing_bit);
        }
    return 0;
}
"""


@x86_64
@pytest.mark.skipif("v3" not in _cpu.supported_levels(), reason="this processor has no level v3")
def test_every_instruction_set_of_a_level_is_needed(tmp_path: Path) -> None:
    """A level is refused if one of its instruction sets is missing, as on some virtual machines."""
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no C compiler ({compiler[0]})")
    (tmp_path / "cpuid.h").write_text(FAKE)
    (tmp_path / "program.c").write_text(PROGRAM)
    include = [f"-I{tmp_path}", f"-I{SRC}"]
    command = [*compiler, *include, tmp_path / "program.c", "-o", tmp_path / "program"]
    subprocess.run(command, check=True, timeout=60)
    done = subprocess.run([tmp_path / "program"], check=True, capture_output=True, text=True)
    complete, *needed = done.stdout.splitlines()
    assert complete == f"1 {int('v4' in _cpu.supported_levels())}"
    # leaf 1: SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, OSXSAVE, AVX, F16C
    expected = [f"0 {bit}" for bit in (0, 9, 13, 19, 20, 22, 23, 27, 28, 29)]
    assert needed == [*expected, "1 0", "1 5"]  # LAHF and SAHF, LZCNT
