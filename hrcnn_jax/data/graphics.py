"""Pictures that no camera took: text, drawings, gradients, tiles, few colours, large pixels.

They have edges, flat areas and grids of their own, which a network that has seen nothing but
photographs takes for damage. All are drawn at random by Pillow, and are intact.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

_LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .,;:!?-()    "


def drawn(random: Generator, side: int) -> NDArray[np.uint8]:
    """A picture `(side, side, 3)` uint8."""
    kinds: tuple[Callable[[Generator, int], Image.Image], ...] = (
        _text,
        _shapes,
        _gradient,
        _tiles,
        _enlarged,
    )
    return np.asarray(kinds[random.integers(len(kinds))](random, side))


def altered(random: Generator, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph as programs without JPEG leave it: few colours, large pixels, noise, filters.

    Args:
      random: where from.
      picture: `(H, W, 3)` uint8.

    Returns:
      Of the same shape.
    """
    image = Image.fromarray(picture)
    what = random.integers(6)
    if what == 0:
        colours = int(2 ** random.uniform(1, 8))
        dither = random.choice([Image.Dither.NONE, Image.Dither.FLOYDSTEINBERG])
        image = image.quantize(colours, dither=Image.Dither(dither)).convert("RGB")
    elif what == 1:
        by = random.choice([Image.Resampling.NEAREST, Image.Resampling.BILINEAR])
        factor = random.choice([2.0, 3.0, 4.0, random.uniform(1.2, 4.0)])
        width, height = (int(np.ceil(length / factor)) for length in image.size)
        size = int(np.ceil(width * factor)), int(np.ceil(height * factor))
        small = image.crop((0, 0, width, height))
        image = small.resize(size, Image.Resampling(by)).crop((0, 0, *image.size))
    elif what == 2:
        noise = random.normal(0, random.uniform(1, 20), picture.shape)
        image = Image.fromarray(np.clip(picture + noise, 0, 255).astype(np.uint8))
    elif what == 3:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 4)))
    elif what == 4:
        percent = int(random.integers(50, 400))
        image = image.filter(ImageFilter.UnsharpMask(random.uniform(0.7, 3), percent, 0))
    else:
        step = int(2 ** random.integers(3, 7))
        image = Image.fromarray((picture // step * step).astype(np.uint8))
    return np.asarray(image)


def _colour(random: Generator) -> tuple[int, int, int]:
    if random.random() < 0.4:
        gray = (0, 255, int(random.integers(256)))[random.integers(3)]
        return gray, gray, gray
    red, green, blue = (int(each) for each in random.integers(256, size=3))
    return red, green, blue


def _text(random: Generator, side: int) -> Image.Image:
    image = Image.new("RGB", (side, side), _colour(random))
    draw = ImageDraw.Draw(image)
    size, fill = float(random.uniform(9, 40)), _colour(random)
    for top in range(int(random.integers(12)), side, int(size * random.uniform(1.1, 1.8))):
        letters = random.choice(list(_LETTERS), size=int(3 * side / size))
        fill = _colour(random) if random.random() < 0.1 else fill
        draw.text((int(random.integers(-20, 40)), top), "".join(letters), fill, font_size=size)
    return image


def _shapes(random: Generator, side: int) -> Image.Image:
    scale = int(random.choice([1, 1, 4]))  # drawn large and made smaller, edges are smooth
    image = Image.new("RGB", (scale * side, scale * side), _colour(random))
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(3, 40))):
        left, top, right, bottom = (int(each) for each in random.integers(scale * side, size=4))
        box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
        fill, width = _colour(random), scale * int(random.integers(1, 6))
        what = random.integers(4)
        if what == 0:
            draw.ellipse(box, fill, _colour(random), width)
        elif what == 1:
            draw.rectangle(box, fill, _colour(random), width)
        elif what == 2:
            draw.line((left, top, right, bottom), fill, width)
        else:
            draw.arc(box, int(random.integers(360)), int(random.integers(360)), fill, width)
    return image.resize((side, side), Image.Resampling.BOX)


def _gradient(random: Generator, side: int) -> Image.Image:
    down, across = np.mgrid[:side, :side] / side
    angle, turns = random.uniform(0, 2 * np.pi), random.choice([0.2, 1.0, random.uniform(1, 9)])
    way = np.cos(angle) * down + np.sin(angle) * across
    if random.random() < 0.4:
        way = np.hypot(down - random.random(), across - random.random())
    shade = (0.5 - 0.5 * np.cos(np.pi * turns * way))[..., None]
    first, second = np.array(_colour(random)), np.array(_colour(random))
    values = first + (second - first) * shade
    if random.random() < 0.5:
        values += random.random(values.shape) - 0.5
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _tiles(random: Generator, side: int) -> Image.Image:
    """Squares of one size: boards, mosaics, pixel art, tables."""
    size = (8, 16, int(random.integers(2, 33)))[random.integers(3)]
    colours = np.array([_colour(random) for _ in range(int(random.integers(2, 9)))], np.uint8)
    count = -(-side // size) + 1
    if random.random() < 0.3:
        which = np.indices((count, count)).sum(0) % len(colours)
    else:
        which = random.integers(len(colours), size=(count, count))
        if random.random() < 0.5:  # larger areas
            which = which.repeat(2, 0).repeat(3, 1)[:count, :count]
    pixels = colours[which].repeat(size, 0).repeat(size, 1)
    top, left = random.integers(size, size=2)
    return Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))


def _enlarged(random: Generator, side: int) -> Image.Image:
    """A drawing whose pixels have become squares, or were smoothed between."""
    factor = int(random.integers(2, 6))
    kinds = (_text, _shapes, _gradient)
    small = kinds[random.integers(len(kinds))](random, -(-side // factor))
    by = random.choice([Image.Resampling.NEAREST, Image.Resampling.BILINEAR])
    large = small.resize((small.width * factor, small.height * factor), Image.Resampling(by))
    return large.crop((0, 0, side, side))
