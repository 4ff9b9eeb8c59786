"""Tests that the scripts of the gallery run, draw figures, and print the same each time."""

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
pytest.importorskip("threadpoolctl")

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
SCRIPTS = sorted(GALLERY.glob("*.py"))


@pytest.fixture
def pyplot(tmp_path, monkeypatch):
    """Return pyplot with a backend that needs no screen, in a folder of its own."""
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    monkeypatch.setattr(pyplot, "show", lambda: None)
    monkeypatch.chdir(tmp_path)
    yield pyplot
    pyplot.close("all")
    assert not list(tmp_path.iterdir())


def test_number_of_scripts():
    assert len(SCRIPTS) >= 12


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(script, pyplot, capsys):
    """A second run prints the same, and every figure has axes and can be drawn."""
    runpy.run_path(str(script))
    printed = capsys.readouterr().out
    figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
    assert figures
    for figure in figures:
        assert figure.axes
        figure.canvas.draw()
    pyplot.close("all")
    runpy.run_path(str(script))
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_page(script):
    """A script is short, and begins with a title, its underline and text."""
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    title, underline = re.match(r'"""\n(.+)\n(=+)\n\n\S', text).groups()
    assert len(title) == len(underline)


def test_data_are_found_from_the_current_folder(pyplot, monkeypatch):
    """A notebook has no __file__."""
    monkeypatch.chdir(GALLERY)
    exec((GALLERY / "plot_old_faithful.py").read_text(encoding="utf-8"), {})
    assert pyplot.get_fignums()


def test_every_script_is_in_one_section():
    sections = runpy.run_path(str(GALLERY.parent / "gallery_pages.py"))["SECTIONS"]
    names = [f"plot_{name}" for section in sections.values() for name in section]
    assert sorted(names) == [path.stem for path in SCRIPTS]


def test_figures_of_dark_pages(pyplot):
    """Greys swap light and dark, colours stay, and a map that begins at white begins at black."""
    module = runpy.run_path(str(GALLERY.parent / "gallery_pages.py"))
    figure, axes = pyplot.subplots()
    black, blue = axes.plot([0, 1], [0, 1], "k-", [0, 1], [1, 0], "C0-")
    image = axes.imshow([[0.0, 1.0]], cmap="Greys")
    title = axes.set_title("title")
    axes.set_xlabel("x")
    assert module["described"](figure, "Page") == "Page: title (x)"
    colour = blue.get_color()
    module["darken"](figure)
    assert min(black.get_color()[:3]) > 0.85
    assert title.get_color()[0] > 0.85
    assert blue.get_color() == colour
    assert max(image.cmap(0)[:3]) < 0.1
