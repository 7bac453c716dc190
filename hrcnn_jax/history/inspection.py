"""What a file is, for people and for programs: `python -m hrcnn_jax inspect`."""

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.files import exif
from hrcnn_jax.files.pictures import Stored
from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history.record import OWN, History
from hrcnn_jax.history.table import TURNED, nearest_quality
from hrcnn_jax.jpeg.tables import BASELINE_STEP, CHROMINANCE, LIBJPEG_STEP, LUMINANCE, quality_table
from hrcnn_jax.text import printable

_SAMPLINGS = {
    (1, 1): "4:4:4",
    (1, 2): "4:2:2",
    (2, 2): "4:2:0",
    (2, 1): "4:4:0",
    (1, 4): "4:1:1",
    (2, 4): "4:1:0",
}
"""By how many times coarser chroma is than luma, `(down, across)`."""


def inspect(file: Stored, earlier: History | None) -> dict[str, Any]:
    """Facts about a file, as JSON can hold them.

    Args:
      file: codes or pixels.
      earlier: the compression before, as `hrcnn_jax.history.find` finds it.
    """
    facts = {
        "name": file.name,
        "damage": file.damage,
        "kind": "JPEG" if isinstance(file, JpegFile) else file.kind,
        "width": file.width,
        "height": file.height,
        "colour": file.colour,
    }
    coded = _of_codes(file) if isinstance(file, JpegFile) else {"alpha": file.alpha is not None}
    return {
        **facts,
        **coded,
        "metadata": _metadata(file),
        "history": None if earlier is None else history(earlier),
    }


def _of_codes(file: JpegFile) -> dict[str, Any]:
    quality, exact = libjpeg_quality(file)
    return {
        "sampling": sampling(file),
        "coding": coding(file),
        "restart_interval": file.restart_interval,
        "quality": quality,
        "quality_is_exact": exact,
        "luma_quality": nearest_quality(file.components[0].table),
        "components": [
            {
                "sampling": list(part.sampling),
                "width": part.size[1],
                "height": part.size[0],
                "table": part.table.tolist(),
            }
            for part in file.components
        ],
    }


def _metadata(file: Stored) -> dict[str, Any]:
    comment = file.comment if isinstance(file, JpegFile) else None
    return {
        "orientation": exif.orientation(file.exif),
        "resolution": file.resolution or exif.resolution(file.exif),
        "exif_bytes": len(file.exif or b""),
        "icc_bytes": len(file.icc or b""),
        "xmp_bytes": len(file.xmp or b""),
        "comment": None if comment is None else comment.decode("utf-8", "replace"),
    }


def history(earlier: History) -> dict[str, Any]:
    """Facts about the compression before, as JSON can hold them."""
    luma = earlier.tables[0]
    chroma = earlier.factors[-1] if earlier.tables[-1] is not None else None
    return {
        "encoder": earlier.encoder,
        "quality": earlier.quality,
        "luma_quality": None if luma is None else nearest_quality(luma),
        "grid": list(earlier.grid),
        "sampling": None
        if len(earlier.factors) == 1 or chroma is None
        else _SAMPLINGS.get(chroma, "{}×{}".format(*chroma)),
        "tables": [None if each is None else each.tolist() for each in earlier.tables],
        "proof": list(earlier.proof),
        "coarseness": earlier.coarseness,
        "resized_from": None if earlier.resizing is None else list(earlier.resizing.size),
        "resized_by": None if earlier.resizing is None else earlier.resizing.by,
        "resized_spans": None
        if earlier.resizing is None or earlier.resizing.shown is None
        else [list(span) for span in earlier.resizing.shown],
        "sharpened": None
        if earlier.resizing is None or earlier.resizing.sharpened is None
        else list(astuple(earlier.resizing.sharpened)),
    }


COLUMNS = {
    "history": "bool",
    "history_encoder": "string",
    "history_quality": "int32",
    "history_grid": "list<int32>",
    "history_sampling": "string",
    "history_proof": "list<double>",
    "history_coarseness": "double",
    "history_resized_from": "list<int32>",
    "history_resized_by": "string",
    "history_resized_spans": "list<list<double>>",
    "history_sharpened": "list<double>",
}
"""What a row of a report tells of an earlier compression, by Arrow's names of types."""


def row(earlier: dict[str, Any] | None) -> dict[str, Any]:
    """The same of what `history` tells; more than that is left out."""
    told = {f"history_{name}": value for name, value in (earlier or {}).items()}
    return {name: told[name] for name in COLUMNS if name in told} | {"history": bool(earlier)}


def sampling(file: JpegFile) -> str:
    """Such as `4:2:0`; where there is no such name, each component's factors."""
    if len(file.components) == 1:
        return "none"
    first, *others = (part.factor for part in file.components)
    coarser = {each for each in others[:2] if first == (1, 1)}
    if len(coarser) == 1 and coarser <= _SAMPLINGS.keys():
        return _SAMPLINGS[coarser.pop()]
    return ", ".join("{}×{}".format(*part.sampling) for part in file.components)


def coding(file: JpegFile) -> str:
    """Such as `progressive, Huffman`."""
    scans = "progressive" if file.progressive else "sequential"
    return f"{scans}, {'arithmetic' if file.arithmetic else 'Huffman'}"


def libjpeg_quality(file: JpegFile) -> tuple[int, bool]:
    """The quality whose tables are the file's, or the nearest in ratios of their steps.

    Returns:
      The quality, 1-100, and whether its tables are exactly the file's.
    """
    scaled = np.arange(1, 101)
    distances = []
    for largest in (BASELINE_STEP, LIBJPEG_STEP):
        bases = {name: np.asarray(quality_table(scaled, _BASES[name], largest)) for name in _BASES}
        distance = np.zeros(len(scaled))
        for index, part in enumerate(file.components):
            is_chroma = file.colour in ("ycbcr", "ycck") and index in (1, 2)
            tables = bases["chroma" if is_chroma else "luma"]
            distance += np.abs(np.log(tables / part.table)).sum((1, 2))
        distances.append(distance)
    nearest = np.min(distances, axis=0)
    best = int(nearest.argmin())
    return best + 1, bool(nearest[best] == 0)


_BASES: dict[str, NDArray[np.int32]] = {
    "luma": LUMINANCE,
    "chroma": CHROMINANCE,
}


def quality_of_damage(facts: Mapping[str, Any]) -> int | None:
    """Libjpeg's quality of luma that decides how damaged it is; None if none is known.

    Args:
      facts: by `inspect`.
    """
    return (facts["history"] or facts).get("luma_quality")


def summary(facts: dict[str, Any]) -> str:
    """One line, for `--verbose`."""
    parts = [f"{facts['width']}×{facts['height']}", facts["colour"]]
    if facts["kind"] == "JPEG":
        parts += [] if facts["sampling"] == "none" else [facts["sampling"]]
        about = "" if facts["quality_is_exact"] else "about "
        parts += [facts["coding"], f"quality {about}{facts['quality']}"]
    else:
        parts.append(facts["kind"])
    parts += [told(facts["history"])] if facts["history"] else []
    return f"{facts['name']}: {', '.join(parts)}"


def moved(earlier: Mapping[str, Any]) -> list[str]:
    """What else became of a picture with a history: turned, or cropped; turned, it may be both."""
    if earlier["encoder"] == TURNED:
        return ["turned"]
    return ["cropped"] if earlier["grid"] != [0, 0] else []


def told(earlier: dict[str, Any]) -> str:
    """A history in one line."""
    since = "".join(f", then {each}" for each in moved(earlier))
    if earlier["resized_from"] is not None:
        height, width = earlier["resized_from"]
        if earlier["resized_spans"]:
            since = f", then resized and cropped to what was {width}×{height}"
        else:
            since += f", then resized from {width}×{height}"
        since += ", then sharpened" if earlier["sharpened"] else ""
    quality, encoder = f"quality {earlier['quality']}", earlier["encoder"]
    if encoder == OWN:
        quality = f"about {quality}, with a table of its own"
    elif encoder not in ("libjpeg", TURNED):
        quality += f" of {encoder}"
    return (
        f"compressed before at {quality}{since} "
        f"({100 * earlier['proof'][0]:.1f} % of luma comes back)"
    )


def text(facts: dict[str, Any]) -> str:
    """All of the facts, over several lines."""
    metadata, before = facts["metadata"], facts["history"]
    lines = {
        "kind": facts["kind"],
        "size": f"{facts['width']}×{facts['height']} pixels",
        "colour": facts["colour"] + (", transparency" if facts.get("alpha") else ""),
    }
    if facts["kind"] == "JPEG":
        lines |= {
            "sampling": facts["sampling"],
            "coding": facts["coding"],
            "restart interval": facts["restart_interval"] or "none",
            "quality": f"{facts['quality']} of libjpeg"
            + (", exactly" if facts["quality_is_exact"] else " is nearest"),
        }
    lines |= {
        "orientation": metadata["orientation"],
        "resolution": "{:g}×{:g} per inch".format(*metadata["resolution"])
        if metadata["resolution"]
        else "not told",
        "metadata": ", ".join(
            f"{name} {metadata[f'{key}_bytes']:,} bytes"
            for name, key in (("EXIF", "exif"), ("ICC", "icc"), ("XMP", "xmp"))
            if metadata[f"{key}_bytes"]
        )
        or "none",
        "comment": printable(metadata["comment"] or "none"),
        "history": told(before) if before else "no earlier compression that can be proved",
        "earlier grid": "blocks begin {} down, {} across".format(*before["grid"])
        if before
        else "none",
    }
    if facts.get("expected_gain") is not None:
        lines["expected gain"] = f"{facts['expected_gain']:+.1f} dB by {facts['expected_of']}"
    tables: dict[str, list[int]] = {}
    for index, part in enumerate(facts.get("components", ())):
        rows = "\n".join("  " + " ".join(f"{step:5d}" for step in row) for row in part["table"])
        tables.setdefault(rows, []).append(index + 1)
    width = max(map(len, lines))
    return "\n".join(
        [
            printable(facts["name"]),
            *(f"  {name.ljust(width)}  {value}" for name, value in lines.items()),
            *(
                f"  table of component{'s' if len(which) > 1 else ''} "
                f"{', '.join(map(str, which))}\n{rows}"
                for rows, which in tables.items()
            ),
        ]
    )
