"""Configuration of Sphinx. `docs/build` builds the site from the installed package, without network."""

import logging
import os
import re
import sys
from pathlib import Path

import gmm_core

DOCS = Path(__file__).parent
sys.path.append(str(DOCS))
os.environ.setdefault("MPLBACKEND", "agg")
logging.getLogger("gmm_core").setLevel("WARNING")   # a package of the theme prints messages of level INFO

project = "gmm_core"
author = "The gmm_core developers"
copyright = "The gmm_core developers"
release = version = gmm_core.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "gallery"]
# The path of a clone may have a space. The names of the scripts have none.
suppress_warnings = ["sphinx_gallery.space_in_filename"]
default_role = "py:obj"     # `fit` in a docstring becomes a link where there is such an object

# --- the reference ---
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections have the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False     # the templates list them

# --- pages ---
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# --- the gallery ---
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"\.py$",   # all scripts are run
    "ignore_pattern": r"(^|[/\\])_",
    "within_subsection_order": "gallery_pages.order",
    "image_scrapers": "gallery_pages.scrape",
    "reset_modules": ("matplotlib", "gallery_pages.style"),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 5,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

# --- HTML ---
html_theme = "furo"
html_title = f"gmm_core {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = ["searchable.js"]
html_copy_source = False
html_show_sourcelink = False


def draw_figures(app):
    """Draw the figures of the pages, in light and in dark."""
    import figures

    figures.draw_all(DOCS / "_figures")


def arrange_gallery(app, docname, source):
    """Divide the index of the gallery into sections."""
    import gallery_pages

    gallery_pages.arrange(app, docname, source)


def escape_bars(app, what, name, obj, options, lines):
    """Keep |x|, and a name that ends in _, from being references of reStructuredText."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", "..")):
            lines[i] = re.sub(r"\|(?=\S)", r"\|", line).replace("_in_,)", r"_in\_,)")


def skip_field(app, what, name, obj, skip, options):
    """Leave out "Alias for field number 0": the Attributes of a named tuple describe its fields."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Connect what this file adds to the build."""
    app.connect("builder-inited", draw_figures, priority=100)
    app.connect("source-read", arrange_gallery)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("autodoc-process-docstring", escape_bars, priority=900)     # after numpydoc
