"""Summaries of a fitted mixture: a text with the figures of the fit, and a table in HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gmm_core.core.types import Float64Array, FloatArray, Labels
from gmm_core.infer.score import Score
from gmm_core.model.covariance import COVARIANCE_TYPES

_SHOWN_COMPONENTS = 20
_SHOWN_FEATURES = 6


class Summary(NamedTuple):
    """The figures of a fitted mixture, which are printed as a table.

    Attributes
    ----------
    covariance_type : str
    n_components : int
    n_samples : float
        Total weight of the samples.
    log_likelihood : float
        Log-likelihood of the samples, in nats.
    n_parameters : int
        Number of free parameters.
    bic, aic, icl : float
        The criteria, of which lower is better. They have the other sign than mclust's.
    counts : dict of int to float
        The weight of the samples that `predict` finds in each component; −1 is the noise.
    converged : bool
    n_iter : int
    components : str
        A table of the weights, means and standard deviations.
    """

    covariance_type: str
    n_components: int
    n_samples: float
    log_likelihood: float
    n_parameters: int
    bic: float
    aic: float
    icl: float
    counts: dict[int, float]
    converged: bool
    n_iter: int
    components: str

    def __repr__(self) -> str:
        """Return the tables."""
        K = self.n_components
        noun = "component" if K == 1 else "components"
        noise = " and noise" if -1 in self.counts else ""
        end = "converged after" if self.converged else "not converged after"
        figures = _table(
            ["samples", "log-likelihood", "parameters", "BIC", "AIC", "ICL"],
            [[
                f"{self.n_samples:.10g}", f"{self.log_likelihood:.2f}", str(self.n_parameters),
                *(f"{value:.2f}" for value in (self.bic, self.aic, self.icl)),
            ]],
        )  # fmt: skip
        counts = _table(
            ["noise" if k == -1 else str(k) for k in self.counts],
            [[f"{count:.10g}" for count in self.counts.values()]],
        )
        return "\n\n".join([
            f"Gaussian mixture of {K} {noun}{noise}, {self.covariance_type} covariances,\n"
            f"fitted by EM ({end} {self.n_iter} iteration{'s' * (self.n_iter != 1)})",
            figures, f"Samples by component\n{counts}",
            f"Weights, means and (standard deviations)\n{self.components}",
        ])  # fmt: skip


def summary(
    scored: Score,
    labels: Labels,
    sample_weight: Float64Array | None,
    n_parameters: int,
    parameters: Parameters,
    history: tuple[bool, int],
) -> Summary:
    """Put the figures of a mixture together.

    Parameters
    ----------
    scored : Score
        The score of the samples, with its uncertainty.
    labels : ndarray of shape (n_samples,)
    sample_weight : ndarray of shape (n_samples,) or None
    n_parameters : int
    parameters : Parameters
    history : tuple of bool and int
        Whether EM has converged, and after how many iterations it ended.

    Returns
    -------
    Summary
    """
    K = len(parameters.weights)
    numbers = list(range(K)) if parameters.noise_weight is None else [*range(K), -1]
    sums = np.bincount(labels + 1, sample_weight, minlength=K + 1)
    return Summary(
        parameters.covariance_type, K, scored.weight, scored.mean * scored.weight, n_parameters,
        scored.bic(n_parameters), scored.aic(n_parameters), scored.icl(n_parameters),
        {k: float(sums[k + 1]) for k in numbers}, *history,
        _table(*_columns(parameters)) + _left_out(parameters),
    )  # fmt: skip


class Parameters(NamedTuple):
    """What the table of components shows.

    Attributes
    ----------
    weights : ndarray of shape (K,)
    means : ndarray of shape (K, D)
    covariances : ndarray
    covariance_type : str
    names : sequence of str or None
        Names of the features.
    noise_weight : float or None, default=None
        Weight of the noise component; None if there is none.
    """

    weights: FloatArray
    means: FloatArray
    covariances: FloatArray
    covariance_type: str
    names: Sequence[str] | None
    noise_weight: float | None = None


def components_html(parameters: Parameters) -> str:
    """Return the table of the weights, means and standard deviations in HTML."""
    header, rows = _columns(parameters)
    cells = [("th", header), *(("td", row) for row in rows)]
    lines = "".join(
        "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in row) + "</tr>"
        for tag, row in cells
    )
    caption = f"Weights, means and (standard deviations){_left_out(parameters)}"
    return f"<table><caption>{html.escape(caption)}</caption>{lines}</table>"


def _columns(parameters: Parameters) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table of components, by falling weight."""
    weights, means, covariances, name, names, noise_weight = parameters
    K, D = means.shape
    deviations = np.sqrt(COVARIANCE_TYPES[name].variances(covariances, K, D))
    shown = range(min(D, _SHOWN_FEATURES))
    labels = [f"feature {d}" for d in shown] if names is None else [str(names[d]) for d in shown]
    rows = [
        [
            str(k), f"{weights[k]:.4f}",
            *(f"{means[k, d]:.6g} ({deviations[k, d]:.4g})" for d in shown),
        ]
        for k in np.argsort(-weights, kind="stable")[:_SHOWN_COMPONENTS]
    ]  # fmt: skip
    if noise_weight is not None:
        rows.append(["noise", f"{noise_weight:.4f}", *([""] * len(shown))])
    return ["component", "weight", *labels], rows


def _left_out(parameters: Parameters) -> str:
    """Return a line that tells how many components and features the table leaves out."""
    K, D = parameters.means.shape
    parts = [
        f"{number - limit} more {noun}"
        for number, limit, noun in (
            (K, _SHOWN_COMPONENTS, "components"), (D, _SHOWN_FEATURES, "features"),
        )
        if number > limit
    ]  # fmt: skip
    return f"\n{', '.join(parts)}" if parts else ""


def _table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table whose columns are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in [header, *rows]
    )
