"""What a fitted mixture is used for: scores, labels, imputed values and draws."""
