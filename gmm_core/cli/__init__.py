"""The command line ``gmm-core``, which uses the public API of the package."""
