"""What a network will gain on a picture, before it is restored: by its card, from its quality."""

import numpy as np

from hrcnn_jax.networks.cards import Card
from hrcnn_jax.scores.protocol import Protocol, means


def expected_gain(card: Card, quality: int) -> float | None:
    """The mean gain that a network was measured to have at a quality.

    Between qualities that were measured it is interpolated, beyond them it is not known. A
    picture's own gain may differ: smooth pictures gain more than busy ones.

    Args:
      card: of the network.
      quality: 1-100, libjpeg's, whose tables are the file's or nearest to them.

    Returns:
      Gain in PSNR over the plain decode in dB; None if nothing was measured around this quality.
    """
    measured = max((means(card, each) for each in _fitting(card)), key=len, default={})
    qualities = sorted(measured)
    if not qualities or not qualities[0] <= quality <= qualities[-1]:
        return None
    return float(np.interp(quality, qualities, [measured[each]["gain"] for each in qualities]))


def _fitting(card: Card) -> list[Protocol]:
    """Whole pictures with libjpeg's luma table: what most pictures' luma is."""
    known = (Protocol(**each["protocol"]) for each in card.scores)
    return [
        each
        for each in known
        if each.planes in ("green", "luma")
        and each.table == "luminance"
        and each.crop is None
        and each.faithful
    ]
