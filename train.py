"""Trains a restoration network; see `python train.py --help`."""

import sys

from hrcnn_jax.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
