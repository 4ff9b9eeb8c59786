"""What all other rooms use: types, errors, seeds, threads, and the choice of the kernels."""
