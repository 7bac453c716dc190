"""Drawings: arrays in, a picture or a matplotlib `Figure` out; nothing here computes or loads.

Planes are `(H, W)` in [0, 1]; what lies outside is clipped. A window is `(top, left, height,
width)` in pixels. There is no global state, and figures are drawn without a display.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hrcnn_jax.files.atomic import written_whole

Window = tuple[int, int, int, int]

WIDTH = 12.0
"""Width of every figure in inches."""

DPI = 150
ACCENT = "#d95f02"
TEXT = "#333333"
HIDING = 0.04**2
"""Variance of a block of pixels above which its texture begins to hide errors."""


@dataclass(frozen=True)
class Panel:
    """A plane `(H, W)` in [0, 1] and what is written above it."""

    picture: NDArray[np.floating]
    caption: str


@dataclass(frozen=True)
class Point:
    """A named point; `ours` stands out."""

    name: str
    x: float
    y: float
    ours: bool = False


def visible_gain(
    original: NDArray[Any], before: NDArray[Any], after: NDArray[Any]
) -> NDArray[np.float64]:
    """How visibly each pixel of `after` improves on `before`.

    It is the squared error removed, less the more texture the original has to hide errors in.

    Args:
      original: `(H, W)` in [0, 1], H and W multiples of 8.
      before: same shape.
      after: same shape.

    Returns:
      `(H, W)` of either sign.
    """
    rows, columns = original.shape
    texture = original.reshape(rows // 8, 8, columns // 8, 8).var(axis=(1, 3), dtype=float)
    removed = np.square(before - original, dtype=float) - np.square(after - original, dtype=float)
    return removed / np.kron(texture + HIDING, np.ones((8, 8)))


def richest_window(values: NDArray[Any], size: tuple[int, int]) -> Window:
    """The window in which values `(H, W)` have the largest sum.

    Args:
      values: `(H, W)`.
      size: height and width of the window, at most H and W.

    Returns:
      The window; its corner is at multiples of 8.
    """
    height, width = size
    sums = np.pad(values.astype(float), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    within = sums[height:] - sums[:-height]
    within = within[:, width:] - within[:, :-width]
    within = within[::8, ::8]
    row, column = np.unravel_index(np.argmax(within), within.shape)
    return 8 * int(row), 8 * int(column), height, width


def comparison(
    rows: Sequence[Sequence[Panel]], window: Window, *, labels: Sequence[str], title: str
) -> Figure:
    """Whole pictures with a magnified detail of each (the paper's Fig. 5).

    Args:
      rows: for each label the same number of panels, all of one picture size.
      window: the detail; magnified to a whole picture's size, below wide pictures and beside
        tall ones.
      labels: one a row.
      title: of the figure.
    """
    height, width = rows[0][0].picture.shape
    wide = width >= height
    across = len(rows[0]) * (1 if wide else 2)
    down = len(rows) * (2 if wide else 1)
    cell = (WIDTH - 0.4) / across
    figure = _figure(cell * height / width * down + 0.45 * len(rows) + 0.5, title)
    # One grid a row keeps each picture close to its detail.
    strips = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for strip, label, panels in zip(strips, labels, rows, strict=True):
        axes = strip.subplots(down // len(rows), across, squeeze=False)
        whole, detail = (axes[0], axes[1]) if wide else (axes[0, ::2], axes[0, 1::2])
        strip.supylabel(label, fontsize=11, color=TEXT)
        for above, below, panel in zip(whole, detail, panels, strict=True):
            above.set_title(panel.caption, fontsize=9, color=TEXT, loc="left", pad=4)
            _show(above, panel.picture)
            _outline(above, window)
            _show(below, _cut(panel.picture, window))
            _frame(below)
    return figure


def stages(
    codes: NDArray[Any],
    features: Mapping[str, NDArray[Any]],
    window: Window,
    *,
    title: str,
    captions: Mapping[str, str],
) -> Figure:
    """What each segment of HR-CNN makes of a plane of codes (the paper's Fig. 4).

    Args:
      codes: `(H, W)`, each 8x8 block its own codes.
      features: `extracted` `(H/8, W/8, 64)`, `reconstructed` `(H, W, 64)`, `decoded`
        and `enhanced` `(H, W)`.
      window: the detail that the reconstructed snapshots are shown of.
      title: of the figure.
      captions: what to add to the caption of a stage, by its key in `features`.
    """
    extracted, reconstructed = features["extracted"], features["reconstructed"]
    decoded, enhanced = features["decoded"], features["enhanced"]
    added = enhanced - decoded
    added -= np.median(added)  # the segments may share out brightness as they like
    times = max(1, round(0.35 / max(float(np.quantile(np.abs(added), 0.995)), 1e-3)))
    top, left, rows, columns = window
    detail = reconstructed[top : top + rows, left : left + columns]
    panels = [
        ("Input", "quantised codes, the framed detail", codes, _signed(_cut(codes, window))),
        (
            "1  Channel extraction",
            "each frequency of the 8×8 blocks a small picture",
            extracted,
            montage(extracted, 8),
        ),
        (
            "2  Spectral reconstruction",
            "each painted at full size (16 lowest, framed detail)",
            reconstructed,
            montage(detail, 4),
        ),
        ("3  Decoding", "merged into one picture", decoded, decoded),
        ("4  Enhancement", "residual blocks restore detail", enhanced, enhanced),
        (
            "4 − 3",
            f"what enhancement adds, {times} times",
            added,
            0.5 + times * added,
        ),
    ]
    cell = WIDTH / 3 * codes.shape[0] / codes.shape[1]
    figure = _figure(2 * cell + 2.0, title)
    for axes, key, (name, text, values, picture) in zip(
        figure.subplots(2, 3).ravel(), ("", *features, ""), panels, strict=True
    ):
        size = " × ".join(map(str, values.shape))
        axes.set_title(name, fontsize=11, color=TEXT, loc="left", pad=18, fontweight="bold")
        axes.set_title(size, fontsize=9, color=TEXT, loc="right", pad=18)
        axes.text(0, 1.015, text, fontsize=9, color=TEXT, transform=axes.transAxes)
        _show(axes, picture)
        if key in captions:
            axes.set_xlabel(captions[key], fontsize=9, color=TEXT)
        if key in ("decoded", "enhanced"):
            _outline(axes, window)
    return figure


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    across: str,
    up: str,
    title: str,
    bottom: float = 0.0,
) -> Figure:
    """Lines by name, each of points `(x, y)`.

    Args:
      lines: the best at the end comes first in the legend.
      across: what x is.
      up: what y is.
      title: of the figure.
      bottom: the lowest y that is shown, below the highest there is.
    """
    figure = _figure(0.5 * WIDTH, title)
    axes = figure.subplots()
    for name in sorted(lines, key=lambda name: -lines[name][-1][1]):
        x, y = zip(*lines[name], strict=True)
        axes.plot(x, y, marker=".", label=f"{name}  {y[-1]:+.2f}")
    axes.set_xlabel(across, color=TEXT)
    axes.set_ylabel(up, color=TEXT)
    highest = max(y for points in lines.values() for _, y in points)
    axes.set_ylim(bottom, highest + 0.05 * abs(highest - bottom))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def scatter(points: Sequence[Point], *, across: str, up: str, title: str) -> Figure:
    """Named points over a logarithmic axis.

    Args:
      points: what to show; x positive.
      across: what x is.
      up: what y is.
      title: of the figure.
    """
    figure = _figure(0.5 * WIDTH, title)
    axes = figure.subplots()
    for point in points:
        color = ACCENT if point.ours else TEXT
        axes.plot(point.x, point.y, "o", color=color)
        axes.annotate(
            f"{point.name}  {point.y:+.2f}",
            (point.x, point.y),
            xytext=(7, -4),
            textcoords="offset points",
            color=color,
            fontweight="bold" if point.ours else "normal",
        )
    axes.set_xscale("log")
    axes.set_xlim(min(p.x for p in points) / 2, max(p.x for p in points) * 4)
    axes.set_ylim(0, 1.15 * max(p.y for p in points))
    axes.set_xlabel(across, color=TEXT)
    axes.set_ylabel(up, color=TEXT)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def montage(features: NDArray[Any], side: int) -> NDArray[np.float64]:
    """Channels of the lowest `side` frequencies each way, in their order: a plane in [0, 1].

    Vertical frequency grows downwards, horizontal to the right (Eq. 2: channel `ch` has them
    `ch mod 8` and `ch // 8`). Each channel is centred and scaled by itself.

    Args:
      features: `(h, w, 64)`.
      side: from 1 to 8.

    Returns:
      `(side*(h+g) - g, side*(w+g) - g)`, with white gaps of `g` pixels.
    """
    height, width, _ = features.shape
    gap = max(1, side * width // 256)
    sheet = np.ones((side * (height + gap) - gap, side * (width + gap) - gap))
    for row in range(side):
        for column in range(side):
            top, left = row * (height + gap), column * (width + gap)
            tile = features[..., 8 * column + row]
            sheet[top : top + height, left : left + width] = _signed(tile - np.median(tile))
    return sheet


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure; the file is there whole or not at all.

    Args:
      figure: what to write.
      path: its suffix says the format.
    """
    path = Path(path)
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=DPI, format=path.suffix.removeprefix("."))


def _figure(height: float, title: str) -> Figure:
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=13, color=TEXT, x=0.01, ha="left")
    return figure


def _show(axes: Axes, plane: NDArray[Any]) -> None:
    axes.imshow(plane, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _outline(axes: Axes, window: Window) -> None:
    top, left, height, width = window
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=ACCENT, lw=1.2)
    )


def _frame(axes: Axes) -> None:
    axes.spines[:].set(visible=True, color=ACCENT, linewidth=1.2)


def _cut(plane: NDArray[Any], window: Window) -> NDArray[Any]:
    top, left, height, width = window
    return plane[top : top + height, left : left + width]


def _signed(values: NDArray[Any]) -> NDArray[np.float64]:
    """Signed values to [0, 1], zero at the middle; the root shows small values beside large."""
    largest = float(np.max(np.abs(values))) or 1.0
    return 0.5 + 0.5 * np.sign(values) * np.sqrt(np.abs(values, dtype=float) / largest)
