"""Compare the results and the speed of gmm_core and other libraries on this machine."""

import argparse
import importlib
import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = ("gmm_core", "dense", "reference")
EXPLANATION = """\
ms per EM iteration = (fit of 1 + m iterations - fit of 1 iteration) / m, with tol = 0,
reg_covar = 0 and the same explicit start for all libraries. Validation, set-up and an E-step at the
end cancel. A library is timed only if its parameters after 1 + m iterations have the same
log-likelihood, evaluated by the NumPy baseline in float64. Rounding may change it by {float64:g}
(float32: {float32:g}) times max(1, |log-likelihood per sample|). 'latency' is a whole fit from an
explicit start. 'fit' is a whole fit with default options, where the starts, and so the ends, of the
libraries differ. 'skip' is EM on separated and real data, from the k-means start of a fit with
default options: iterations of gmm_core after the first {before}, with skip="auto" and skip=False
('dense'), and iterations of scikit-learn, which all take as long. There 'pairs evaluated' is the
share of pairs of a component and a group of samples that the last iteration did not skip, and
'difference' is the largest one from the log-likelihoods per sample of all dense iterations. Rounds
are interleaved in one process. Memory is measured in a process of its own for each library.
OPENBLAS_THREAD_TIMEOUT is 4 unless it is set: otherwise the BLAS threads of NumPy and SciPy spin
against each other, which on two cores can make scikit-learn and the baseline several times
slower."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse and check the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="SUBSTRING", default="", help="part of workload names")
    parser.add_argument("--libraries", metavar="A,B", help="libraries (default: all installed)")
    parser.add_argument("--threads", metavar="N,M", help="numbers of threads (default 1,2)")
    parser.add_argument("--repeats", type=int, help="number of rounds (default 5; with --quick 1)")
    parser.add_argument(
        "--cap", type=float, default=20.0, help="seconds for a library on a workload (default 20)"
    )
    parser.add_argument("--quick", action="store_true", help="run a smoke test at tiny sizes")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--list", action="store_true", help="print the names of all workloads")
    parser.add_argument("--json", metavar="FILE", help="write all results")
    parser.add_argument("--plot", metavar="PNG", help="write a plot (needs matplotlib)")
    parser.add_argument("--markdown", action="store_true", help="print tables in markdown")
    options = parser.parse_args(arguments)
    try:
        options.threads = [int(n) for n in (options.threads or "1,2").split(",")]
    except ValueError:
        parser.error(f"--threads: expected numbers separated by commas, got {options.threads!r}")
    if min(options.threads) < 1:
        parser.error("--threads: expected numbers of at least 1")
    if options.repeats is None:
        options.repeats = 1 if options.quick else 5
    if options.repeats < 1:
        parser.error("--repeats: expected at least 1")
    return options


def refuse_editable() -> None:
    """End the process unless gmm_core is a regular install.

    An editable install may be built with other flags than what users get.
    """
    spec = find_spec("gmm_core")
    if spec is None or spec.origin is None:
        sys.exit("gmm_core is not installed: run `pip install .`.")
    finders = [type(finder).__module__ for finder in sys.meta_path]
    editable = any("editable" in name and "gmm_core" in name for name in finders)
    location = Path(spec.origin).resolve().parent
    if editable or location == REPOSITORY / "gmm_core":
        sys.exit(f"gmm_core at {location} is not a regular install: run `pip install .`.")


def limit_threads_by_environment(options: argparse.Namespace) -> None:
    """Start this process again with the number of threads in its environment.

    This is for a machine without threadpoolctl, where a process cannot change the number.
    """
    options.threads = options.threads[:1]
    wanted = str(options.threads[0])
    variables = [f"{name}_NUM_THREADS" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")]
    if any(os.environ.get(variable) != wanted for variable in variables):
        os.environ.update(dict.fromkeys(variables, wanted))
        log(f"threadpoolctl is not installed: this run has {wanted} thread(s) only")
        os.execv(sys.executable, [sys.executable, *sys.argv])


def log(message: str) -> None:
    """Print a message on standard error."""
    print(message, file=sys.stderr, flush=True)


def set_threads(peers: dict[str, Any], n_threads: int) -> None:
    """Limit the threads of all libraries."""
    if find_spec("threadpoolctl") is not None:
        importlib.import_module("threadpoolctl").threadpool_limits(n_threads)
    for peer in peers.values():
        peer.set_threads(n_threads)


def main() -> int:
    """Run the comparison.

    Returns
    -------
    int
        Exit code: 1 if gmm_core or its baseline failed or disagreed, otherwise 0.
    """
    options = parse()
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    if find_spec("threadpoolctl") is None:
        limit_threads_by_environment(options)
    refuse_editable()

    # These come after the environment is set, as NumPy's BLAS reads it when it is loaded.
    import report
    from libraries import PEERS, load
    from measure import TOLERANCES, Comparison
    from skipping import BEFORE, LaterIterations
    from workloads import GRID, Unavailable, make_problem, small_grid

    import gmm_core

    grid = small_grid() if options.quick else GRID
    grid = [workload for workload in grid if options.only in workload.name]
    if options.list:
        print("\n".join(workload.name for workload in grid))
        return 0
    if not grid:
        sys.exit(f"--only: no workload has {options.only!r} in its name; --list prints them")
    names = options.libraries.split(",") if options.libraries else list(PEERS)
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        sys.exit(f"--libraries: no {unknown[0]!r}; there are {', '.join(PEERS)}")
    peers, missing = load(names)
    for name, reason in missing.items():
        log(f"without {name} ({reason})")
    if not peers:
        sys.exit("none of the libraries can be imported")
    for peer in peers.values():
        peer.warm_up()

    machine = report.describe_machine()
    versions = {name: peer.version() for name, peer in peers.items()}
    header = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"\ngmm_core.build_info(): {gmm_core.build_info()}\n\n"
        + EXPLANATION.format(before=BEFORE, **TOLERANCES)
    )
    rows: list[report.Row] = []
    skipped: dict[str, str] = {}

    def save() -> None:
        """Write what has been measured so far."""
        if options.json:
            content = {
                "machine": machine,
                "versions": versions,
                "missing": missing,
                "build_info": gmm_core.build_info(),
                "options": vars(options),
                "skipped": skipped,
                "rows": report.as_json(rows),
            }
            Path(options.json).write_text(json.dumps(content, indent=1, default=str) + "\n")

    for workload in grid:
        try:
            problem = make_problem(workload)
        except Unavailable as error:
            skipped[workload.name] = str(error)
            log(f"{workload.name}: skipped, {error}")
            continue
        for n_threads in options.threads:
            started = time.perf_counter()
            set_threads(peers, n_threads)
            compare = LaterIterations if workload.kind == "skip" else Comparison
            comparison = compare(problem, options.repeats, options.cap)
            memory = not options.no_memory and not (options.quick and rows)
            cells = comparison.run(peers, n_threads, memory)
            rows.append(report.Row(workload, n_threads, cells))
            shown = ", ".join(f"{c.library} {_short(c.median_ms, c.status)}" for c in cells)
            seconds = time.perf_counter() - started
            log(f"{workload.name}, {n_threads} thread(s): {shown}  [{seconds:.0f} s]")
            save()
    save()
    if not rows:
        return 0
    print(report.as_text(rows, header, options.markdown))
    for name, reason in skipped.items():
        print(f"- {name} skipped: {reason}")
    if options.plot:
        report.plot(rows, options.plot, header.split("\n")[0])
    ours = [c for row in rows for c in row.cells if c.library in OURS]
    return int(any(cell.status in ("differs", "failed") for cell in ours))


def _short(milliseconds: float | None, status: str) -> str:
    return status if milliseconds is None else f"{milliseconds:.4g} ms"


if __name__ == "__main__":
    sys.exit(main())
