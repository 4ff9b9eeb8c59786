"""What a mixture is, without data: parameters, covariance types, statistics, marginal mixtures."""
