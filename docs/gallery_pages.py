"""The sections of the gallery, and its figures for light and for dark pages."""

import re
from pathlib import Path

# A reader goes through these from top to bottom. Each script in gallery/ is in one section.
SECTIONS = {
    "First steps": ["old_faithful", "pairs", "digits"],
    "Choosing a model": ["covariance_types", "selection", "bayesian", "bootstrap"],
    "Using a model": ["distributions", "regression", "classification", "anomalies", "density_map", "export", "patching"],
    "Images": ["segmentation", "imputation", "patches"],
    "Data in all shapes": ["weights", "deconvolution", "drifting_stream"],
    "Speed": ["acceleration", "baseline"],
}
DIV = '.. raw:: html\n\n    <div class="sphx-glr-thumbnails">\n\n'
END = ".. raw:: html\n\n    </div>\n\n"
THUMB = re.compile(r'\.\. raw:: html\n\n    <div class="sphx-glr-thumbcontainer".*?\n    </div>\n', re.DOTALL)
IMAGE = re.compile(r"( +)\.\. image:: (\S*sphx_glr_plot_(\w+)_thumb)\.png\n +:alt:.*\n")


def order(filename):
    """Return the place of a script in the gallery."""
    names = [f"plot_{name}.py" for section in SECTIONS.values() for name in section]
    if filename not in names:
        raise ValueError(f"{filename} is in no section of docs/gallery_pages.py")
    return names.index(filename)


def style(gallery_conf, filename):
    """Make the text of figures large enough for a page."""
    from matplotlib import rcParams

    rcParams["font.size"] = 12


def darkened(colours):
    """Return colours with greys made light for dark grey and dark for light grey, or None if there are none."""
    from matplotlib.colors import to_rgba_array

    rgba = to_rgba_array(colours)
    grey = (rgba[:, :3] == rgba[:, :1]).all(axis=1) & (rgba[:, 3] > 0)
    if not grey.any():
        return None
    rgba[grey, :3] = 0.08 + 0.82 * (1 - rgba[grey, :3]) ** 0.7
    return rgba if len(rgba) > 1 else rgba[0]


def darken(figure):
    """Swap light and dark in the greys of a figure, and in the maps of colours that begin at white."""
    figure.draw_without_rendering()     # makes the ticks
    for artist in figure.findobj():
        if getattr(artist, "get_array", lambda: None)() is not None:
            if artist.cmap(0)[0] > 0.9:
                artist.set_cmap(artist.cmap.reversed())
            continue
        new = {}
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            if hasattr(artist, f"get_{name}") and hasattr(artist, f"set_{name}"):
                new[name] = darkened(getattr(artist, f"get_{name}")())
        for name, colours in new.items():
            if colours is not None:
                getattr(artist, f"set_{name}")(colours)


def described(figure, page):
    """Return the text for readers who do not see a figure: its page, and the titles and labels of its panels."""
    panels = []
    for axes in figure.axes:
        labels = ", ".join(label for label in (axes.get_xlabel(), axes.get_ylabel()) if label)
        title = axes.get_title()
        panels.append(f"{title} ({labels})" if title and labels else title or labels)
    return " ".join(f"{page}: {'; '.join(filter(None, panels))}".split()).rstrip(": ")


def scrape(block, block_vars, gallery_conf):
    """Save the figures of a block of code for light and for dark pages, and return the text that shows them."""
    from matplotlib import pyplot as plt
    from PIL import Image, ImageOps

    page = Path(block_vars["src_file"]).read_text(encoding="utf-8").split("\n")[1]
    shown = []
    for number, light in zip(plt.get_fignums(), block_vars["image_path_iterator"], strict=False):
        figure = plt.figure(number)
        light = Path(light)
        dark = light.with_name(f"{light.stem}-dark.png")
        figure.savefig(light, dpi=150)
        alt = described(figure, page)
        darken(figure)
        figure.savefig(dark, dpi=150, transparent=True)
        if light.stem.endswith("_001"):
            thumbs = light.parent / "thumb"
            thumbs.mkdir(exist_ok=True)
            thumb = thumbs / f"{light.stem.removesuffix('_001')}_thumb-dark.png"
            ImageOps.pad(Image.open(dark), gallery_conf["thumbnail_size"], color=(0, 0, 0, 0)).save(thumb)
        shown.append(".. container:: wide\n\n")
        for theme, path in (("light", light), ("dark", dark)):
            name = path.relative_to(gallery_conf["src_dir"]).as_posix()
            shown.append(f"    .. image:: /{name}\n        :class: only-{theme} sphx-glr-single-img\n"
                         f"        :width: {100 * figure.get_figwidth():.0f}px\n        :alt: {alt}\n\n")
    plt.close("all")
    return "".join(shown)


def arrange(app, docname, source):
    """Divide the index of the gallery into sections, and give it the pictures for dark pages."""
    if docname != "auto_gallery/index":
        return
    text = IMAGE.sub(r"\1.. image:: \2.png\n\1  :class: only-light\n\1  :alt:\n\n"
                     r"\1.. image:: \2-dark.png\n\1  :class: only-dark\n\1  :alt:\n", source[0])
    thumbs = {re.search(r"sphx_glr_plot_(\w+)_thumb", match[0])[1]: match[0] for match in THUMB.finditer(text)}
    start, rest = text.split(DIV, 1)
    sections = [f"{title}\n{'-' * len(title)}\n\n{DIV}" + "\n\n".join(thumbs[name] for name in names) + f"\n\n{END}"
                for title, names in SECTIONS.items()]
    end = rest[rest.index(".. toctree::"):]
    source[0] = start + "".join(sections) + end
