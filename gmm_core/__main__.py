"""Run the command line by ``python -m gmm_core``."""

from gmm_core.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
