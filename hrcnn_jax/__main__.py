"""`python -m hrcnn_jax`: the command line without installing."""

import sys

from hrcnn_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
