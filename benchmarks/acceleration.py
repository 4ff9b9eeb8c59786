"""Count the passes over the data that EM takes with and without acceleration.

    python benchmarks/acceleration.py [--seeds 8] [--only SUBSTRING]

Plain EM and each acceleration fit each problem from the same start, for each seed, with tol=1e-9.
The problems are Gaussian groups, most of which overlap, with 2 to 16 components, 1 to 8 features
and several covariance types, and colours of an image. Each seed draws other data and another start.

"to converge" is the ratio of the passes of plain EM to those of an accelerated fit. "to reach" is
the ratio of the passes to the last log-likelihood of plain EM; there is none if the accelerated fit
ended below it, which is so if it converged to another optimum. Rejected trials count as passes. The
table has medians over the seeds; the columns of an acceleration are its passes, "to converge" and
"to reach".
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from bench import processor

from gmm_core import GaussianMixture, build_info
from gmm_core.core.types import AccelerationName

N_ROWS = 2_000
TOL = 1e-9
METHODS: tuple[AccelerationName, ...] = get_args(AccelerationName)
SLOW = 1_000  # passes of plain EM
BELOW = 1e-8  # nats per sample: the end of an accelerated fit is as good as that of plain EM
ABOVE = 1e-4  # it is another optimum, a better one


class Problem(NamedTuple):
    """Gaussian groups, whose means have the standard deviation `spread`, and the mixture."""

    n_components: int
    n_features: int
    spread: float
    covariance_type: str = "full"


PROBLEMS = [
    Problem(2, 1, 1.0), Problem(3, 1, 1.5), Problem(3, 2, 2.0), Problem(4, 2, 1.0),
    Problem(3, 4, 3.0), Problem(5, 3, 1.0), Problem(4, 6, 0.3), Problem(6, 8, 1.0),
    Problem(4, 8, 0.5), Problem(8, 4, 1.0), Problem(8, 2, 1.0), Problem(16, 2, 1.0),
    Problem(12, 4, 1.5), Problem(8, 4, 1.0, "tied"), Problem(16, 3, 1.0, "tied"),
    Problem(12, 3, 0.7, "diag"), Problem(8, 5, 1.0, "diag"), Problem(5, 2, 0.7, "diag"),
    Problem(10, 4, 1.0, "spherical"), Problem(16, 2, 1.0, "spherical"),
    Problem(6, 4, 0.8, "VEE"), Problem(6, 4, 0.8, "VVE"), Problem(6, 3, 0.8, "EEV"),
    Problem(8, 3, 0.8, "VEI"), Problem(16, 3, 0.0),
]  # fmt: skip


class Outcome(NamedTuple):
    """What plain EM and an accelerated fit of a problem did.

    Attributes
    ----------
    plain, accelerated, to_reach : float
        Passes; infinite for a log-likelihood that was not reached.
    rejected : int
        Rejected trials.
    difference : float
        Accelerated log-likelihood minus that of plain EM, in nats per sample.
    """

    plain: float
    accelerated: float
    to_reach: float
    rejected: int
    difference: float


def samples(problem: Problem, seed: int) -> np.ndarray:
    """Draw the data of a problem; a spread of 0 stands for the image."""
    rng = np.random.default_rng([PROBLEMS.index(problem), seed])
    K, D = problem.n_components, problem.n_features
    if not problem.spread:
        with np.load(Path(__file__).parents[1] / "examples" / "china_pixels.npz") as file:
            pixels = next(iter(file.values()))
        return rng.choice(pixels.reshape(-1, D) / 255, N_ROWS, replace=False)
    roots = rng.normal(size=(K, D, D)) / np.sqrt(D)
    means = problem.spread * rng.normal(size=(K, D))
    labels = rng.integers(K, size=N_ROWS)
    noise = np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(N_ROWS, D)))
    return means[labels] + noise + rng.normal(size=(N_ROWS, D)) / 2


def outcomes(problem: Problem, seed: int) -> dict[AccelerationName, Outcome]:
    """Fit a problem without acceleration and with each one."""
    X = samples(problem, seed)
    params: dict[str, Any] = {
        "n_components": problem.n_components, "covariance_type": problem.covariance_type,
        "tol": TOL, "max_iter": 100_000, "random_state": seed, "n_threads": 1,
    }  # fmt: skip
    plain = GaussianMixture(**params).fit(X)
    found = {}
    for method in METHODS:
        fast = GaussianMixture(**params, acceleration=method).fit(X)
        bounds = np.array(fast.lower_bounds_)
        reached = np.flatnonzero(bounds >= plain.lower_bounds_[-1])
        found[method] = Outcome(
            plain.n_iter_, fast.n_iter_, reached[0] + 1 if len(reached) else np.inf,
            int((np.diff(bounds) == 0).sum()), fast.lower_bound_ - plain.lower_bound_,
        )  # fmt: skip
    return found


def summary(name: str, found: list[Outcome]) -> None:
    """Print the ratios of the passes of several fits."""
    if not found:
        return
    table = np.array(found)
    plain, difference = table[:, 0], table[:, 4]
    print(f"{name}, {len(found)}:")
    for column, what in ((1, "to converge"), (2, "to reach")):
        ratio = plain / table[:, column]
        print(f"  {what}: median {np.median(ratio):.2f}, worst {ratio.min():.2f}, "
              f"10 % below {np.quantile(ratio, 0.1):.2f}")  # fmt: skip
    below, above = np.mean(difference < -BELOW), np.mean(difference > ABOVE)
    rejected = np.mean(table[:, 3] / table[:, 1])
    print(f"  not below plain EM: {1 - below:.1%}, above it by more than {ABOVE}: {above:.1%}, "
          f"rejected passes: {rejected:.0%}")  # fmt: skip


def main() -> None:
    """Fit all problems and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--only", default="", help="part of the covariance types to fit")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of collapsed components
    print(f"{processor()}, {len(PROBLEMS)} problems, {args.seeds} seeds; {build_info()}\n")
    heads = "".join(f" {method} | to converge | to reach |" for method in METHODS)
    print(f"| K | D | spread | type | passes |{heads}")
    print("|---|---|---|---|---|" + "---|---|---|" * len(METHODS))
    by_problem: dict[AccelerationName, list[Outcome]] = {method: [] for method in METHODS}
    all_runs: dict[AccelerationName, list[Outcome]] = {method: [] for method in METHODS}
    for problem in PROBLEMS:
        if args.only not in problem.covariance_type:
            continue
        found = [outcomes(problem, seed) for seed in range(args.seeds)]
        cells = ""
        for method in METHODS:
            runs = [outcome[method] for outcome in found]
            plain, fast, reach, *_ = middle = Outcome(*np.median(runs, axis=0))
            by_problem[method].append(middle)
            all_runs[method] += runs
            cells += f" {fast:,.0f} | {plain / fast:.1f} | {plain / reach:.1f} |"
        K, D, spread, name = problem
        print(f"| {K} | {D} | {spread or 'image'} | {name} | {plain:,.0f} |{cells}")
    for method in METHODS:
        print(f"\n{method}")
        runs = all_runs[method]
        summary("Problems, medians over the seeds", by_problem[method])
        summary("All runs", runs)
        summary(f"Runs of more than {SLOW:,} plain passes", [f for f in runs if f.plain > SLOW])


if __name__ == "__main__":
    main()
