"""Checks of the data and parameters that users give, and passes over arrays, batches and clusters.

A pass reads all samples once. The data may be an array, a data frame, batches, or chunks on the
workers of a Dask cluster.
"""
