"""Pictures of an evaluation: before and after, and what each stage of a network hands on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.jpeg import transform
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.restoration.tiles import window
from hrcnn_jax.scores import figures
from hrcnn_jax.scores.evaluation import Picture, decode_plainly, make_codes, score, to_pixels
from hrcnn_jax.scores.figures import Panel


def comparison(rows: Sequence[tuple[Restorer, int]], picture: Picture, planes: str) -> Any:
    """Original, plain JPEG and restored picture (the paper's Fig. 5).

    Args:
      rows: for each row of the figure a network and a quality it serves.
      picture: to make the codes from.
      planes: what plane of a colour picture it is, for the title.
    """
    original = to_pixels(picture.samples)
    panels, gain = [], np.zeros_like(original, float)
    for restorer, quality in rows:
        codes, table = make_codes(picture.samples, quality)
        plain, restored = decode_plainly(codes, table), restorer.restore_codes(codes, table)
        scores = score(original, plain, restored)
        before = f"JPEG   {scores['jpeg_psnr']:.2f} dB   SSIM {scores['jpeg_ssim']:.1%}"
        after = f"Restored   {scores['psnr']:.2f} dB   SSIM {scores['ssim']:.1%}"
        panels.append([Panel(original, "Original"), Panel(plain, before), Panel(restored, after)])
        gain += figures.visible_gain(original, plain, restored)
    names = list(dict.fromkeys(restorer.network.name for restorer, _ in rows))
    return figures.comparison(
        panels,
        figures.richest_window(gain, detail_size(original, 4)),
        labels=[f"Quality {quality}" for _, quality in rows],
        title=f"{Path(picture.name).stem}: {planes} plane, restored by {', '.join(names)}",
    )


def stages(network: Network, picture: Picture, planes: str) -> Any:
    """The features after each segment of HR-CNN (the paper's Fig. 4)."""
    assert network.quality is not None
    quality = network.quality
    codes, table = make_codes(picture.samples, quality)
    original, plain = to_pixels(picture.samples), decode_plainly(codes, table)
    features = features_of(network, codes)
    captions = {
        stage: "{psnr:.2f} dB, plain JPEG {jpeg_psnr:.2f} dB".format(
            **score(original, plain, features[stage])
        )
        for stage in ("decoded", "enhanced")
    }
    plane = np.asarray(transform.from_blocks(jnp.asarray(codes)))
    return figures.stages(
        plane,
        features,
        figures.richest_window(plane != 0, detail_size(original, 8)),
        title=f"{Path(picture.name).stem} on its way through {network.name}: {planes} plane, "
        f"quality {quality}",
        captions=captions,
    )


def features_of(network: Network, codes: NDArray[np.int16]) -> dict[str, NDArray[np.float32]]:
    """What HR-CNN's segments hand on, in their order, for codes `(hb, wb, 8, 8)`.

    Features are `(hb, wb, 64)`, `(8*hb, 8*wb, 64)`, and two pictures `(8*hb, 8*wb)`.
    """
    halo = network.module.halo
    size = codes.shape[0] + 2 * halo, codes.shape[1] + 2 * halo
    surrounded = jnp.asarray(window(codes, (-halo, -halo), size), jnp.float32)
    plane = transform.from_blocks(surrounded)[None, ..., None]
    _, state = network.module.apply({"params": network.params}, plane, mutable=["intermediates"])
    features = {}
    for stage in network.architecture.stages:
        (value,) = state["intermediates"][stage]
        margin = halo if stage == "extracted" else 8 * halo
        inside = np.asarray(value, np.float32)[0, margin:-margin, margin:-margin]
        features[stage] = inside if inside.shape[-1] > 1 else inside[..., 0]
    return features


def detail_size(plane: NDArray[Any], share: int) -> tuple[int, int]:
    """Sides of a detail that fits into a picture `share` times each way."""
    height, width = plane.shape
    return max(8, height // share), max(8, width // share)
