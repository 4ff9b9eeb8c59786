"""Show the results as tables and as a plot, with the machine that they were measured on."""

import os
import platform
from collections.abc import Callable
from dataclasses import asdict
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from bench import processor
from measure import Cell
from workloads import SCORING, Workload


class Row(NamedTuple):
    """The results of all libraries on a workload with a number of threads."""

    workload: Workload
    n_threads: int
    cells: list[Cell]


UNITS = {
    "em": "iteration",
    "latency": "fit",
    "fit": "fit",
    "skip": "iteration",
    **dict.fromkeys(SCORING, "call"),
}


def describe_machine() -> dict[str, str | int | None]:
    """Return the names and versions that the results depend on."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """Return the results as lists and dicts that JSON can hold."""
    return [
        {
            **asdict(row.workload),
            "n_threads": row.n_threads,
            "unit": f"ms per {UNITS[row.workload.kind]}",
            "libraries": [{**asdict(cell), "median_ms": cell.median_ms} for cell in row.cells],
        }
        for row in rows
    ]


# ---- Tables --------------------------------------------------------------------------------------


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _spread(values: list[float]) -> str:
    """Format times as their median, least and most."""
    if len(values) == 1:
        return f"{_number(values[0])} (once)"
    return f"{_number(median(values))} ({_number(min(values))}–{_number(max(values))})"


def _wall(cell: Cell) -> str:
    return _spread(cell.wall_ms) if cell.wall_ms else cell.status.replace("unsupported", "–")


def _cpu(cell: Cell) -> str:
    return _number(median(cell.cpu_ms)) if cell.cpu_ms else ""


def _memory(cell: Cell) -> str:
    return _number(cell.memory_mb) if cell.memory_mb is not None else ""


def _ends(cell: Cell) -> str:
    if not cell.n_iter:
        return ""
    log_likelihood = f"{median(cell.log_likelihoods):.5f}"
    return f"{log_likelihood} after {_number(median(cell.n_iter))}"


def _advantage(row: Row) -> str:
    """Return by which factor gmm_core is faster than the fastest other library."""
    medians = {cell.library: cell.median_ms for cell in row.cells if cell.median_ms}
    ours = medians.pop("gmm_core", None)
    if ours is None or not medians:
        return ""
    fastest = min(medians, key=lambda name: medians[name] or 0)
    return f"{(medians[fastest] or 0) / ours:.1f} × {fastest}"


def _table(
    rows: list[Row], cell_text: Callable[[Cell], str], advantage: bool = False
) -> list[list[str]]:
    names = [cell.library for cell in rows[0].cells] if rows else []
    # A library that none of the rows is for has no column.
    places = [
        i for i in range(len(names)) if any(row.cells[i].status != "unsupported" for row in rows)
    ]
    libraries = [names[i] for i in places]
    table = [["workload", "threads", *libraries, *(["gmm_core against best"] * advantage)]]
    for row in rows:
        texts = [cell_text(row.cells[i]) for i in places]
        if any(texts):
            last = [_advantage(row)] if advantage else []
            table.append([row.workload.name, str(row.n_threads), *texts, *last])
    return table


def _skipping_table(rows: list[Row]) -> list[list[str]]:
    """Return CPU times of iterations with skipping, and their ratios to those of the others."""
    names = [cell.library for cell in rows[0].cells] if rows else []
    others = [name for name in ("dense", "sklearn") if name in names]
    table = [["workload", "threads", "pairs evaluated", "difference", "gmm_core", *others]]
    for row in rows:
        cells = {cell.library: cell for cell in row.cells}
        ours = cells.get("gmm_core", Cell("gmm_core", status=""))
        texts = [
            "" if ours.evaluated is None else f"{100 * ours.evaluated:.1f} %",
            "" if ours.difference is None else f"{ours.difference:.0e}",
            _cpu(ours) or ours.status,
        ]
        for name in others:
            ratio = ""
            if ours.cpu_ms and cells[name].cpu_ms:
                ratio = f" ({_number(median(cells[name].cpu_ms) / median(ours.cpu_ms))} ×)"
            texts.append((_cpu(cells[name]) or cells[name].status) + ratio)
        table.append([row.workload.name, str(row.n_threads), *texts])
    return table


def _render(table: list[list[str]], markdown: bool) -> str:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        lines.append(f"| {' | '.join(cells)} |" if markdown else "  ".join(cells).rstrip())
    if markdown:
        lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


def as_text(rows: list[Row], header: str, markdown: bool) -> str:
    """Return all tables as text. The first two are the most important."""
    skip = [row for row in rows if row.workload.kind == "skip"]
    others = [row for row in rows if row.workload.kind != "skip"]
    tables = [
        ("ms by the clock: median (least–most)", _table(others, _wall, advantage=True)),
        ("separated and real data: ms of CPU per iteration, median", _skipping_table(skip)),
        ("ms of CPU: median", _table(others, _cpu)),
        ("peak memory beyond the data, MB", _table(rows, _memory)),
        ("whole fits: median log-likelihood per sample, and iterations", _table(others, _ends)),
    ]
    parts = [header]
    for title, table in tables:
        if len(table) > 1:
            parts.append(("### " if markdown else "") + title + "\n\n" + _render(table, markdown))
    complaints = [
        f"{row.workload.name}, {row.n_threads} threads: {cell.library} {cell.status} {cell.detail}"
        for row in rows
        for cell in row.cells
        if cell.status in ("differs", "failed", "too slow")
    ]
    if complaints:
        parts.append("\n".join(f"- {line}" for line in complaints))
    return "\n\n".join(parts)


# ---- Plot ----------------------------------------------------------------------------------------


def plot(rows: list[Row], path: str, caption: str) -> None:
    """Save a plot of the times on a logarithmic scale, with a panel for each number of threads."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    counts = sorted({row.n_threads for row in rows})
    names = list(dict.fromkeys(row.workload.name for row in rows))
    libraries = [cell.library for cell in rows[0].cells]
    height = 0.8 / len(libraries)
    size = (7 * len(counts) + 1, 0.55 * len(names) + 1.6)
    figure, axes = plt.subplots(1, len(counts), figsize=size, sharey=True, squeeze=False)
    for panel, n_threads in zip(axes[0], counts, strict=True):
        by_name = {row.workload.name: row for row in rows if row.n_threads == n_threads}
        for i, library in enumerate(libraries):
            found = [
                (y + (i - (len(libraries) - 1) / 2) * height, cell.median_ms)
                for y, name in enumerate(names)
                if name in by_name
                for cell in by_name[name].cells
                if cell.library == library and cell.median_ms
            ]
            places, times = [place for place, _ in found], [time for _, time in found]
            panel.barh(places, times, height, label=library, color=f"C{i}")
        panel.set_xscale("log")
        panel.set_xlabel("ms by the clock (per EM iteration, call or fit)")
        panel.set_title(f"{n_threads} thread{'s' * (n_threads > 1)}")
        panel.grid(axis="x", alpha=0.3)
    axes[0][0].set_yticks(range(len(names)), names)
    axes[0][0].invert_yaxis()
    axes[0][-1].legend(loc="best", fontsize="small")
    figure.suptitle(caption, fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
