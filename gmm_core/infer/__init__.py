"""The uses of a fitted mixture: scores, labels, imputed values and draws."""
