"""Tests that the code on the pages of the site runs and prints what they say, and that links and names lead somewhere."""

import importlib
import inspect
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import gmm_core

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*DOCS.glob("*.md"), *DOCS.glob("api/*.md")])
}
CODE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
MODULES = ("functions", "reference", "dask", "plot", "uncertainty")


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if "```python\n" in text])
def test_code_prints_what_the_page_says(name, tmp_path, monkeypatch, capsys):
    """A block of text after a block of code is what the code prints; without one, it prints nothing."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    with warnings.catch_warnings():
        for code, printed in CODE.findall(PAGES[name]):
            if "__main__" in code:      # workers of a cluster import the script
                (tmp_path / "script.py").write_text(code)
                command = [sys.executable, "-P", "script.py"]
                made = subprocess.run(command, capture_output=True, text=True, timeout=100)
                assert made.returncode == 0, made.stderr
                assert made.stdout == printed
            else:
                exec(compile(code, name, "exec"), namespace)
                assert capsys.readouterr().out == printed, code


def test_all_blocks_of_code_are_found():
    for name, text in PAGES.items():
        fences = re.findall(r"^ *(?:```|~~~)\s*\{?(?:py|python|python3|pycon|ipython|code-block)\b", text, re.MULTILINE)
        assert len(fences) == len(CODE.findall(text)), name


def test_what_goes_wrong_elsewhere_does_not_here():
    page = PAGES["numerics.md"]
    namespace = {}
    with warnings.catch_warnings():
        exec(compile(CODE.search(page)[1], "numerics.md", "exec"), namespace)
        rows = re.findall(r"^\| .* \| `([^`]+)` \|$", page, re.MULTILINE)
        assert len(rows) == 12
        for row in rows:
            assert eval(row, namespace), row


def test_start_has_the_first_command_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(r"^<!-- command 1 -->\n```sh\n(.+)\n```$", readme, re.MULTILINE)[1]
    assert f"```sh\n{command}\n```" in PAGES["start.md"]


def expanded(name):
    """Return a page with the files that it includes in place, without its blocks of code."""
    def include(match):
        return (DOCS / name).parent.joinpath(match[1]).read_text(encoding="utf-8")

    text = re.sub(r"^```\{include\} (\S+)\n(?:.*\n)*?```$", include, PAGES[name], flags=re.MULTILINE)
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(name):
    """Return the anchors of the headings of a page, as MyST makes them."""
    found = re.findall(r"^#{1,6} (.+)$", expanded(name), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_pages_and_headings(name):
    folder = (DOCS / name).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", expanded(name)):
        if target.startswith(("http:", "https:")):
            continue
        file, _, anchor = target.partition("#")
        if file.startswith("auto_gallery/"):
            assert (DOCS / "gallery" / file.removeprefix("auto_gallery/")).with_suffix(".py").is_file(), target
            continue
        page = (folder / file).resolve().relative_to(DOCS).as_posix() if file else name
        assert page in PAGES, target
        assert not anchor or anchor in anchors(page), target
    for file in re.findall(r"^```\{(?:include|literalinclude)\} (\S+)$", PAGES[name], re.MULTILINE):
        assert (folder / file).is_file(), file


def test_every_page_is_in_a_table_of_contents():
    entries = set()
    for name, text in PAGES.items():
        for body in re.findall(r"^```\{toctree\}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            entries |= {(Path(name).parent / line).as_posix() for line in body.split("\n")
                        if line and not line.startswith(":")}
    assert entries - {"auto_gallery/index"} == {name.removesuffix(".md") for name in PAGES} - {"index"}


def test_every_figure_is_drawn():
    shown = set(re.findall(r"_figures/(\w+)-(?:light|dark)\.svg", "".join(PAGES.values())))
    code = (DOCS / "figures.py").read_text(encoding="utf-8")
    drawn = re.search(r"for draw in \(([\w, ]+)\):", code)[1].split(", ")
    assert shown == set(drawn)


def documented():
    """Return the names that have a page in the reference."""
    blocks = re.findall(r"^\.\. autosummary::\n(.*?)^```$", PAGES["api/index.md"], re.DOTALL | re.MULTILINE)
    return set(re.findall(r"^   (gmm_core\.[\w.]+)$", "".join(blocks), re.MULTILINE))


def test_every_public_name_has_a_page():
    names = {f"gmm_core.{name}" for name in gmm_core.__all__} - {"gmm_core.__version__"}
    assert ".. data:: gmm_core.__version__" in PAGES["api/index.md"]
    exported = {getattr(gmm_core, name) for name in gmm_core.__all__ if name != "__version__"}
    for name in MODULES:
        module = importlib.import_module(f"gmm_core.{name}")
        public = [
            thing for key, thing in vars(module).items()
            if not key.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing))
            and thing.__module__.startswith("gmm_core.")
            and (key in module.__all__ if hasattr(module, "__all__") else thing.__module__ == module.__name__)
        ]
        names |= {f"{module.__name__}.{thing.__name__}" for thing in public if thing not in exported}
    assert len(names) > 40
    assert names - documented() == set()


def test_every_page_of_the_reference_is_of_something():
    for name in documented():
        module, _, rest = name.rpartition(".")
        assert hasattr(importlib.import_module(module), rest), name
        assert getattr(importlib.import_module(module), rest).__doc__, name


def test_classes_have_all_public_methods():
    """The template of a class lists its members and those that it inherits from the package."""
    template = (DOCS / "_templates" / "autosummary" / "class.rst").read_text(encoding="utf-8")
    assert re.search(r"^   :members:\n   :inherited-members: object, tuple", template, re.MULTILINE)
    for name in documented():
        thing = getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            for method, function in inspect.getmembers(thing, inspect.isroutine):
                if not method.startswith("_") and not hasattr(tuple, method):
                    assert inspect.getdoc(function), f"{name}.{method}"     # what has no docstring is left out
