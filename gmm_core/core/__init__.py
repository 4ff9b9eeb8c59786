"""The way to the compiled kernels: which build runs, on how many threads; and shared basics."""
