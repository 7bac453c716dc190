"""Measures networks against plain JPEG decoding; see `python evaluate.py --help`."""

import sys

from hrcnn_jax.__main__ import program

if __name__ == "__main__":
    sys.exit(program(["evaluate", *sys.argv[1:]]))
