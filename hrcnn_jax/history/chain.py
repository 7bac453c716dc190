"""The chain played again: JPEG decoding and encoding, to the integer as libjpeg computes them.

A hypothesis on what was done to a picture is proved by doing it again and comparing. Rounding
decides whether codes come out equal, so nothing here is approximated: the integer DCT of both ways
("islow"), the triangle filter that enlarges chroma ("fancy upsampling"), the boxes that shrink it,
and the colour conversion are libjpeg's own, on whole arrays at once.

Source: libjpeg and libjpeg-turbo, `jidctint.c`, `jfdctint.c`, `jcdctmgr.c`, `jdsample.c`,
`jcsample.c`, `jdcolor.c` and `jccolor.c`; Loeffler, Ligtenberg and Moschytz, "Practical fast
1-D DCT algorithms with 11 multiplications", 1989.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hrcnn_jax.jpeg.tables import BLOCK

Samples = NDArray[np.uint8]
Factor = tuple[int, int]

_CONST_BITS = 13
_PASS_BITS = 2

# Fixed-point constants of the DCT: round(x * 2**13).
_0_298 = 2446
_0_390 = 3196
_0_541 = 4433
_0_765 = 6270
_0_899 = 7373
_1_175 = 9633
_1_501 = 12299
_1_847 = 15137
_1_961 = 16069
_2_053 = 16819
_2_562 = 20995
_3_072 = 25172

_AT_ONCE = 4096
"""Blocks that are transformed together: their intermediate results stay in the cache."""


_COLOURS_AT_ONCE = 1 << 15
"""Colours that are converted together."""


def decode(codes: NDArray[np.int16], table: NDArray[np.int32]) -> Samples:
    """Samples `(8*hb, 8*wb)` of codes `(hb, wb, 8, 8)`, as libjpeg decodes them."""
    down, across = codes.shape[:2]
    blocks = codes.reshape(-1, BLOCK * BLOCK)
    steps = table.reshape(-1, 1).astype(np.int32)
    samples = np.empty((len(blocks), BLOCK * BLOCK), np.uint8)
    for start in range(0, len(blocks), _AT_ONCE):
        part = blocks[start : start + _AT_ONCE].T.astype(np.int32) * steps
        part = _inverse(part.reshape(BLOCK, BLOCK, -1), _CONST_BITS - _PASS_BITS)
        part = _inverse(part.swapaxes(0, 1), _CONST_BITS + _PASS_BITS + 3).swapaxes(0, 1)
        part += 128
        np.clip(part, 0, 255, out=part)
        samples[start : start + _AT_ONCE] = part.reshape(BLOCK * BLOCK, -1).T
    return (
        samples.reshape(down, across, BLOCK, BLOCK)
        .swapaxes(1, 2)
        .reshape(down * BLOCK, across * BLOCK)
    )


def encode(samples: Samples, table: NDArray[np.int32]) -> NDArray[np.int16]:
    """Codes `(hb, wb, 8, 8)` of samples `(8*hb, 8*wb)`, as libjpeg encodes them."""
    down, across = (side // BLOCK for side in samples.shape)
    blocks = samples.reshape(down, BLOCK, across, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK * BLOCK)
    divisors = (table.reshape(BLOCK, BLOCK, 1) << 3).astype(np.int32)
    codes = np.empty((len(blocks), BLOCK * BLOCK), np.int16)
    for start in range(0, len(blocks), _AT_ONCE):
        part = blocks[start : start + _AT_ONCE].T.astype(np.int32) - 128
        part = part.reshape(BLOCK, BLOCK, -1).swapaxes(0, 1)
        part = _forward(part, -_PASS_BITS).swapaxes(0, 1)
        part = _forward(part, _PASS_BITS)
        sizes = (np.abs(part) + (divisors >> 1)) // divisors
        codes[start : start + _AT_ONCE] = np.copysign(sizes, part).reshape(BLOCK * BLOCK, -1).T
    return codes.reshape(down, across, BLOCK, BLOCK)


def _descaled(values: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    values += 1 << (bits - 1)
    values >>= bits
    return values


def _inverse(x: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """One-dimensional inverse DCT along the first axis of `(8, ...)`, descaled by bits."""
    z1 = (x[2] + x[6]) * _0_541
    low, high = z1 - x[6] * _1_847, z1 + x[2] * _0_765
    total, difference = (x[0] + x[4]) << _CONST_BITS, (x[0] - x[4]) << _CONST_BITS
    even = total + high, difference + low, difference - low, total - high
    z1, z2, z3, z4 = x[7] + x[1], x[5] + x[3], x[7] + x[3], x[5] + x[1]
    z5 = (z3 + z4) * _1_175
    z1, z2 = z1 * -_0_899, z2 * -_2_562
    z3, z4 = z3 * -_1_961 + z5, z4 * -_0_390 + z5
    odd = (
        x[1] * _1_501 + z1 + z4,
        x[3] * _3_072 + z2 + z3,
        x[5] * _2_053 + z2 + z4,
        x[7] * _0_298 + z1 + z3,
    )
    out = np.empty_like(x)
    for place, (a, b) in enumerate(zip(even, odd, strict=True)):
        out[place] = _descaled(a + b, bits)
        out[7 - place] = _descaled(a - b, bits)
    return out


def _forward(x: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """One-dimensional DCT along the first axis of `(8, ...)`, descaled by so many bits.

    A negative number of bits leaves as many more below the point.
    """
    sums = [x[place] + x[7 - place] for place in range(4)]
    t7, t6, t5, t4 = (x[place] - x[7 - place] for place in range(4))
    t10, t13, t11, t12 = sums[0] + sums[3], sums[0] - sums[3], sums[1] + sums[2], sums[1] - sums[2]
    out = np.empty_like(x)
    for place, value in ((0, t10 + t11), (4, t10 - t11)):
        out[place] = value << -bits if bits < 0 else _descaled(value, bits)
    bits += _CONST_BITS
    z1 = (t12 + t13) * _0_541
    out[2] = _descaled(z1 + t13 * _0_765, bits)
    out[6] = _descaled(z1 - t12 * _1_847, bits)
    z1, z2, z3, z4 = t4 + t7, t5 + t6, t4 + t6, t5 + t7
    z5 = (z3 + z4) * _1_175
    z1, z2 = z1 * -_0_899, z2 * -_2_562
    z3, z4 = z3 * -_1_961 + z5, z4 * -_0_390 + z5
    out[7] = _descaled(t4 * _0_298 + z1 + z3, bits)
    out[5] = _descaled(t5 * _2_053 + z2 + z4, bits)
    out[3] = _descaled(t6 * _3_072 + z2 + z3, bits)
    out[1] = _descaled(t7 * _1_501 + z1 + z4, bits)
    return out


def enlarge(samples: Samples, factor: Factor) -> Samples:
    """Samples `(h, w)` enlarged to `(h*down, w*across)`, as libjpeg's decoder does.

    Factors of 2 have a triangle filter, unless a row has no more than two samples; others repeat
    samples.
    """
    down, across = factor
    if factor not in ((2, 2), (1, 2), (2, 1)) or (across == 2 and samples.shape[1] <= 2):
        return samples.repeat(down, axis=0).repeat(across, axis=1)
    wide = samples.astype(np.int32)
    if factor == (1, 2):
        return _interleaved(*_weighted(wide, 1), (1, 2), 2, 1)
    above, below = _weighted(wide, 0)
    if factor == (2, 1):
        return _interleaved(above, below, (1, 2), 2, 0)
    rows = np.stack([above, below], axis=1).reshape(-1, wide.shape[1])
    return _interleaved(*_weighted(rows, 1), (8, 7), 4, 1)


def _weighted(wide: NDArray[np.int32], axis: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Three times each sample and once the one before it, and the one after it."""
    margins = [(0, 0), (0, 0)]
    margins[axis] = (1, 1)
    padded = np.pad(wide, margins, mode="edge")
    length = wide.shape[axis]
    before = padded.take(np.arange(length), axis)
    after = padded.take(np.arange(2, length + 2), axis)
    return 3 * wide + before, 3 * wide + after


def _interleaved(
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    biases: tuple[int, int],
    bits: int,
    axis: int,
) -> Samples:
    shape = list(first.shape)
    shape[axis] *= 2
    halves = (first + biases[0]) >> bits, (second + biases[1]) >> bits
    return np.stack(halves, axis=axis + 1).reshape(shape).astype(np.uint8)


def shrink(samples: Samples, factor: Factor, blocks: tuple[int, int]) -> Samples:
    """Shrinks samples to the means of boxes and fills up blocks, as libjpeg's encoder does.

    Columns are repeated before boxes are averaged, rows mostly after.

    Args:
      samples: `(h, w)`.
      factor: whole numbers `(down, across)`.
      blocks: of the result, `(down, across)`.

    Returns:
      `(8*down, 8*across)` of the blocks.
    """
    down, across = factor
    height, width = (BLOCK * count for count in blocks)
    if factor != (1, 1):
        wider = ((0, -samples.shape[0] % down), (0, width * across - samples.shape[1]))
        filled = np.pad(samples, wider, mode="edge")
        corners = [
            filled[row::down, column::across] for row in range(down) for column in range(across)
        ]
        sums = np.sum(corners, axis=0, dtype=np.int32)
        area = down * across
        if factor in ((1, 2), (2, 2)):  # halves go down and up in turn
            sums += np.arange(width, dtype=np.int32) % 2 + (down == 2)
        else:
            sums += area // 2
        samples = np.asarray(sums // area, np.uint8)
    missing = (0, height - samples.shape[0]), (0, width - samples.shape[1])
    return np.pad(samples, missing, mode="edge")


def _fixed(weight: float) -> int:
    return int(weight * 65536 + 0.5)


def to_rgb(ycc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of YCbCr samples `(..., 3)`, as libjpeg's decoder converts them."""
    return _in_parts(_rgb_of, ycc)


def to_ycc(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """YCbCr of RGB samples `(..., 3)`, as libjpeg's encoder converts them."""
    return _in_parts(_ycc_of, rgb)


_Three = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]

_HALF = 1 << 15


def _in_parts(
    convert: Callable[[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]], _Three],
    colours: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Colours converted, so many at once that they stay in the cache."""
    given = colours.reshape(-1, 3)
    made = np.empty_like(given)
    for start in range(0, len(given), _COLOURS_AT_ONCE):
        part = slice(start, start + _COLOURS_AT_ONCE)
        for channel, values in enumerate(convert(*given[part].T.astype(np.int32))):
            np.clip(values, 0, 255, out=made[part, channel], casting="unsafe")
    return made.reshape(colours.shape)


def _rgb_of(y: NDArray[np.int32], cb: NDArray[np.int32], cr: NDArray[np.int32]) -> _Three:
    cb, cr = cb - 128, cr - 128
    red = y + ((_fixed(1.402) * cr + _HALF) >> 16)
    green = y + ((-_fixed(0.34414) * cb - _fixed(0.71414) * cr + _HALF) >> 16)
    blue = y + ((_fixed(1.772) * cb + _HALF) >> 16)
    return red, green, blue


def _ycc_of(red: NDArray[np.int32], green: NDArray[np.int32], blue: NDArray[np.int32]) -> _Three:
    offset = (128 << 16) + _HALF - 1
    y = _fixed(0.299) * red + _fixed(0.587) * green + _fixed(0.114) * blue + _HALF
    cb = -_fixed(0.168735892) * red - _fixed(0.331264108) * green + _fixed(0.5) * blue + offset
    cr = _fixed(0.5) * red - _fixed(0.418687589) * green - _fixed(0.081312411) * blue + offset
    return y >> 16, cb >> 16, cr >> 16
