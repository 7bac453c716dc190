"""Trains a restoration network; see `python train.py --help`."""

import sys

from hrcnn_jax.__main__ import program

if __name__ == "__main__":
    sys.exit(program(["train", *sys.argv[1:]]))
