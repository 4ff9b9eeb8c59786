"""Write the kernels.pxd of a subproject, which declares linked functions, not imported ones."""

import re
import sys
from pathlib import Path

source, target = map(Path, sys.argv[1:])
text = re.sub(
    r"^cdef (\w+) (\w+)\(",
    r'cdef extern from "gmm_core.h":\n    \1 \2 "gmm_core_linked->\2"(',
    source.read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)
target.write_text(text, encoding="utf-8")
