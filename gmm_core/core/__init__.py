"""The lowest room (layer) of the package: types, errors, seeds, threads, choice of the kernels."""
