"""What was found about a picture, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from hrcnn_jax.history import inspection
from hrcnn_jax.restoration.blind import Verdict

_DAMAGE = (
    (20, "very strongly compressed: blocks and ripples are plain to see"),
    (50, "strongly compressed: ripples around edges, blocks where it is smooth"),
    (75, "compressed so far that a close look shows it"),
    (90, "lightly compressed"),
    (101, "hardly compressed: there is little to restore"),
)
"""What a quality of luma means for the eye, for qualities below a bound."""


def sentences(
    facts: Mapping[str, Any], *, model: str, gain: float | None, verdict: Verdict | None = None
) -> list[str]:
    """What there is to say about a file.

    Args:
      facts: by `hrcnn_jax.history.inspection.inspect`.
      model: the network that is to restore it.
      gain: that the network is expected to have, in dB; None if that is not known.
      verdict: how bad the picture is, if that network is one of pictures.
    """
    told = [_picture(facts)]
    if facts["damage"] is not None:
        told.append(f"The file is damaged: {facts['damage']}.")
    if facts["kind"] == "JPEG":
        told.append(_quality(facts))
    elif not facts["history"] and verdict is None:
        told.append("No JPEG compression can be proved that it came from: it is left as it is.")
    if facts["history"]:
        told.append(_history(facts["history"]))
    if verdict is not None:
        how = f": {model} restores its pixels" if verdict.unexplained else ""
        told.append(f"It {verdict}{how}.")
    if gain:
        told.append(
            f"At this quality {model} gains {gain:+.1f} dB on average: "
            f"{100 * (1 - 10 ** (-gain / 10)):.0f} % of the squared error is gone."
        )
    metadata = _metadata(facts["metadata"])
    if metadata:
        told.append(f"{metadata} will go along.")
    return told


def _picture(facts: Mapping[str, Any]) -> str:
    colour = {"gray": "gray", "cmyk": "four inks", "ycck": "four inks"}.get(
        facts["colour"], "colour"
    )
    chroma = f", chroma {facts['sampling']}" if facts.get("sampling", "none") != "none" else ""
    return f"{facts['width']} × {facts['height']} pixels, {colour}{chroma}."


def _quality(facts: Mapping[str, Any]) -> str:
    quality = facts["quality"]
    about = "at" if facts["quality_is_exact"] else "at about"
    damage = next(words for bound, words in _DAMAGE if facts["luma_quality"] < bound)
    return f"Saved {about} quality {quality}: {damage}."


def _history(before: Mapping[str, Any]) -> str:
    since = inspection.moved(before)
    since += ["resized"] if before["resized_from"] else []
    since += ["sharpened"] if before["sharpened"] else []
    what = f", and {_listed(since)} since" if since else ""
    return f"It had been saved before at quality {before['quality']}{what}: that did the damage."


def _metadata(metadata: Mapping[str, Any]) -> str:
    names = {"exif_bytes": "EXIF", "icc_bytes": "colour profile", "xmp_bytes": "XMP"}
    parts = [name for key, name in names.items() if metadata[key]]
    if metadata["resolution"]:
        parts.append("resolution")
    text = _listed(parts)
    return text[:1].upper() + text[1:]


def _listed(parts: Sequence[str]) -> str:
    """With commas, and an `and` before the last."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
