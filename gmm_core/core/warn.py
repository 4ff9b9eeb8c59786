"""Warnings that point at the line of the user's code which called the package."""

from __future__ import annotations

import os
import sys
import warnings

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the innermost line of the call stack that is outside this package.

    Parameters
    ----------
    message : str
        The text of the warning.
    category : type of Warning, default=UserWarning
        The class of the warning.
    """
    # Python 3.12 has skip_file_prefixes for this. For 3.11, the frames have to be counted.
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
