"""Measures networks against plain JPEG decoding; see `python evaluate.py --help`."""

import sys

from hrcnn_jax.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
