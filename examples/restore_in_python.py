"""Restores a JPEG file in Python: whole, in 16 bits, at half strength, from its codes, and in a
program of one's own.

python examples/restore_in_python.py [FILE] [FOLDER]

FILE is the bundled photograph unless another is given; results go to FOLDER, restored/ by default.
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import hrcnn_jax
from hrcnn_jax.files import writer
from hrcnn_jax.jpeg import transform

SAMPLE = Path(hrcnn_jax.__file__).parent / "sample" / "parrots.jpg"


def main(source: Path = SAMPLE, folder: Path = Path("restored")) -> None:
    """Restores one file in several ways."""
    folder.mkdir(parents=True, exist_ok=True)

    # A file is read once; a Restorer keeps its compiled programs from one file to the next.
    file = hrcnn_jax.read(source)
    restorer = hrcnn_jax.Restorer()
    picture = restorer.restore(file)
    Image.fromarray(picture).save(folder / "restored.png")

    # 16 bits a sample, and the file's own metadata.
    deep = restorer.restore(file, depth="uint16")
    writer.write(folder / "restored.tiff", deep, writer.FORMATS["tiff16"], file=file)

    # Half way between the plain decode and the restored picture.
    half = hrcnn_jax.Restorer(strength=0.5).restore(file)
    plain = hrcnn_jax.decode(file)
    print("mean change in levels, by strength:")
    for strength, changed in ((0.5, half), (1.0, picture)):
        print(f"  {strength}: {np.mean(np.abs(changed.astype(int) - plain)):.2f}")

    # Codes and their table, without a file: the result quantises to the very same codes.
    luma = file.components[0]
    pixels = restorer.restore_codes(luma.codes, luma.table)
    again = transform.encode(jnp.asarray(pixels), jnp.asarray(luma.table))
    print(f"codes that come back: {np.mean(again == luma.codes):.3%}")
    assert np.array_equal(again, luma.codes)

    # A program of one's own around the pure function: here a batch of corners of the plane.
    network = hrcnn_jax.load("small")
    restore = partial(hrcnn_jax.restore_plane, network.module, network.params)
    corners = np.stack([luma.codes[:8, :8], luma.codes[-8:, -8:]])
    planes = jax.jit(jax.vmap(restore, in_axes=(0, None)))(corners, luma.table)
    print(f"restored {planes.shape[0]} corners of {planes.shape[1]}×{planes.shape[2]} pixels")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
