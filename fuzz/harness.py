"""One target under libFuzzer: `python -m fuzz.harness TARGET [libFuzzer's arguments]`."""

import sys
import warnings

import atheris
from PIL import Image

with atheris.instrument_imports(include=["fuzz", "hrcnn_jax", "PIL"]):
    from fuzz.targets import TARGETS

    Image.init()  # Pillow's formats, which it imports when it needs them

if __name__ == "__main__":
    program, name, *arguments = sys.argv
    warnings.simplefilter("error")
    atheris.Setup([program, *arguments], TARGETS[name].run)
    atheris.Fuzz()
