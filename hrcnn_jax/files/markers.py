"""The markers of a JPEG file, walked as the standard orders them; no picture is decoded here.

A file is a row of segments, each a marker and what its two bytes of length announce, and of scans,
whose data goes on until the next marker: there a byte of 255 is followed by a zero, or it makes one
of the eight restart markers. Only who walks them in this order knows what belongs to the picture:
segments may hold whatever looks like a marker, and other files may follow the end.

Source: ITU-T T.81 (JPEG), Annex B; G.1.1.1 for the order of progressive scans; libjpeg for what is
passed over.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MOST_SEGMENTS = 10_000
"""More are refused. Of the longest profiles and of maps of depth, files have some hundred."""

_EOI, _SOS, _DQT, _DHP, _EXP = 0xD9, 0xDA, 0xDB, 0xDE, 0xDF
_DHT, _DAC, _DRI, _JFIF, _ADOBE, _COMMENT = 0xC4, 0xCC, 0xDD, 0xE0, 0xEE, 0xFE
_FRAMES = {*range(0xC0, 0xD0)} - {_DHT, 0xC8, _DAC}
_READABLE = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
_PROGRESSIVE, _ARITHMETIC = {0xC2, 0xCA}, {0xC9, 0xCA}
_WITH_CONTENT = {*_FRAMES, _DHT, _DAC, *range(_SOS, 0xF0), _COMMENT}

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""What ends a scan's data, or begins a segment: neither a stuffed zero, nor a filling 255, nor a
marker that has no content: a restart, or arithmetic coding's private one."""


class MarkerError(ValueError):
    """A file that is no JPEG, or of a kind that is not read; the message has no file's name."""


class Part(NamedTuple):
    """A component as the frame's header has it: its number, sampling factors and table."""

    number: int
    across: int
    down: int
    slot: int


@dataclass(frozen=True)
class Frame:
    """What the frame's header tells (T.81 B.2.2).

    Attributes:
      kind: the marker, which tells the way of coding.
      precision: bits a sample.
      height: rows of the picture.
      width: columns of the picture.
      parts: its components.
    """

    kind: int
    precision: int
    height: int
    width: int
    parts: tuple[Part, ...]

    @property
    def progressive(self) -> bool:
        """Whether codes come in portions, spread over scans."""
        return self.kind in _PROGRESSIVE

    @property
    def arithmetic(self) -> bool:
        """Whether codes are coded arithmetically, not by Huffman's method."""
        return self.kind in _ARITHMETIC

    def blocks(self, numbers: tuple[int, ...]) -> int:
        """How many blocks a scan of these components has (T.81 A.2.2, A.2.3)."""
        across = max(part.across for part in self.parts)
        down = max(part.down for part in self.parts)
        parts = [part for part in self.parts if part.number in numbers]
        if len(parts) == 1:
            sides = (
                (self.width, parts[0].across, across),
                (self.height, parts[0].down, down),
            )
            columns, rows = (-(-side * factor // (8 * most)) for side, factor, most in sides)
            return columns * rows
        units = -(-self.width // (8 * across)) * -(-self.height // (8 * down))
        return units * sum(part.across * part.down for part in parts)


@dataclass(frozen=True)
class Segment:
    """A marker with content, from `start` to `end` of the file, its length left out."""

    marker: int
    start: int
    end: int


@dataclass(frozen=True)
class Scan:
    """A scan's header (T.81 B.2.3), and where its data is.

    Attributes:
      numbers: of the components that it codes.
      band: first and last index of the codes it holds, in zigzag order.
      high: down to which bit codes were sent before; 0 for the first time.
      low: down to which bit this scan sends them.
      end: where its data ends; it begins where the header does.
    """

    numbers: tuple[int, ...]
    band: tuple[int, int]
    high: int
    low: int
    header: Segment
    end: int

    @property
    def size(self) -> int:
        """Bytes of data."""
        return self.end - self.header.end


@dataclass(frozen=True)
class Layout:
    """What a file consists of.

    Attributes:
      segments: all up to the end, the headers of frame and scans among them.
      frame: the only one.
      scans: at least one.
      end: where the picture ends, past its end marker; other things may follow.
      ended: whether it ends in an end marker, not in something broken or in nothing.
    """

    segments: tuple[Segment, ...]
    frame: Frame
    scans: tuple[Scan, ...]
    end: int
    ended: bool


def frame_of(data: bytes) -> Frame | None:
    """The frame's header alone, from the first bytes of a file; None if it is not in them."""
    try:
        for segment in _segments(data, 2):
            if segment.marker in _FRAMES:
                return _frame(data, segment)
    except MarkerError:
        pass
    return None


def walk(data: bytes, *, most_scans: int) -> Layout:
    """Walks a file from its first marker to the end of its picture.

    Args:
      data: the file, from its start of image on.
      most_scans: files with more are refused.

    Raises:
      MarkerError: if there is no picture that could be decoded: its header is damaged, cut off or
        missing, its kind is not read here, or tables change between its scans.
    """
    segments: list[Segment] = []
    frame: Frame | None = None
    scans: list[Scan] = []
    at, ended, damaged = 2, False, False
    for segment in _segments(data, at):
        at = segment.end
        if segment.marker == _EOI:
            ended = True
            break
        if segment.marker in (_DHP, _EXP):
            raise MarkerError("is a hierarchical JPEG, which is not read; save it anew")
        if segment.marker in _FRAMES:
            if frame is not None:
                raise MarkerError("has more than one frame; save it as an ordinary JPEG")
            frame = _checked(_frame(data, segment))
        elif segment.marker == _DQT and scans:
            # It may then change from scan to scan, which neither the maths here nor libjpeg knows.
            raise MarkerError("defines tables between its scans; save it as an ordinary JPEG")
        elif segment.marker == _SOS:
            if frame is None:
                raise MarkerError(
                    "has a damaged or unsupported header (a scan before its frame); fetch it again"
                )
            if len(scans) == most_scans:
                raise MarkerError(f"has more than {most_scans} scans, as no honest file does")
            scan = _scan(data, segment, frame)
            if scan is None:
                damaged = True
                break
            scans.append(scan)
            at = scan.end
        segments.append(segment)
    if damaged and not scans:
        raise MarkerError("has a damaged scan header, it does not decode: fetch it again")
    if frame is None or not scans:
        raise MarkerError(
            "has a damaged or unsupported header (no picture follows it): it is truncated or "
            "damaged: fetch it again"
        )
    return Layout(tuple(segments), frame, tuple(scans), at, ended)


def _segments(data: bytes, at: int) -> Iterator[Segment]:
    """Segments in the file's order, up to the end marker or to where it breaks off."""
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            return
        marker, start = data[found.start() + 1], found.end()
        if marker == _EOI:
            yield Segment(marker, start, start)
            return
        length = int.from_bytes(data[start : start + 2])
        if marker not in _WITH_CONTENT or length < 2 or start + length > len(data):
            return
        at = start + length
        yield Segment(marker, start + 2, at)
    raise MarkerError(f"has more than {MOST_SEGMENTS:,} segments, as no honest file does")


def _frame(data: bytes, segment: Segment) -> Frame:
    content = data[segment.start : segment.end]
    if len(content) < 6 or len(content) != 6 + 3 * content[5]:
        raise MarkerError("has a damaged or unsupported header (its frame); fetch it again")
    parts = tuple(
        Part(content[at], content[at + 1] >> 4, content[at + 1] & 15, content[at + 2])
        for at in range(6, len(content), 3)
    )
    height, width = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
    return Frame(segment.marker, content[0], height, width, parts)


def _checked(frame: Frame) -> Frame:
    """The frame, if it is of a kind that is read."""
    anew = "save it as an ordinary 8-bit JPEG"
    if frame.kind in (0xC3, 0xC7, 0xCB, 0xCF):
        raise MarkerError(f"is a lossless JPEG, which has no codes to restore from; {anew}")
    if frame.kind not in _READABLE:
        raise MarkerError(f"is a hierarchical JPEG, which is not read; {anew}")
    if frame.precision != 8:
        raise MarkerError(f"is a {frame.precision}-bit JPEG; {anew}")
    if frame.height * frame.width == 0:
        raise MarkerError(
            f"has a damaged or unsupported header ({frame.width}×{frame.height} pixels); "
            "fetch it again or save it anew"
        )
    if len(frame.parts) not in (1, 3, 4):
        raise MarkerError(f"has {len(frame.parts)} components, not 1, 3 or 4; {anew}")
    if len({part.number for part in frame.parts}) < len(frame.parts):
        raise MarkerError(f"has components of one number, which are not told apart; {anew}")
    for factors in zip(*((part.across, part.down) for part in frame.parts), strict=True):
        if not all(1 <= factor <= 4 for factor in factors):
            raise MarkerError("has a damaged or unsupported header (sampling); fetch it again")
        if any(max(factors) % factor for factor in factors):
            raise MarkerError(f"has components of fractional sampling, which are rare; {anew}")
    return frame


def _scan(data: bytes, segment: Segment, frame: Frame) -> Scan | None:
    """A scan; None if its header makes no sense."""
    content = data[segment.start : segment.end]
    count = content[0] if content else 0
    known = [part.number for part in frame.parts]
    numbers = tuple(content[1 : 1 + 2 * count : 2])
    if not 1 <= count <= 4 or len(content) != 4 + 2 * count or not set(numbers) <= set(known):
        return None
    first, last, bits = content[-3:]
    if not frame.progressive:  # where other values mean nothing, and libjpeg passes over them
        first, last, bits = 0, 63, 0
    found = _MARKER.search(data, segment.end)
    end = len(data) if found is None else found.start()
    return Scan(numbers, (first, last), bits >> 4, bits & 15, segment, end)


def too_few_bytes(layout: Layout) -> bool:
    """Whether a scan has less data than the shortest codes of so many blocks would take.

    A Huffman code has a bit at least. Where codes come in one scan, a block has two of them, of its
    mean and of its end (T.81 F.1.2); the first scan of means has one (G.1.2.1). Later scans may
    pass over 32,767 blocks in one code, and arithmetic coding has no such limit.
    """
    if layout.frame.arithmetic:
        return False
    for scan in layout.scans:
        if scan.band[0] == 0 and scan.high == 0:
            shortest = (1 if layout.frame.progressive else 2) * layout.frame.blocks(scan.numbers)
            if 8 * scan.size < shortest:
                return True
    return False


def out_of_order(layout: Layout) -> str | None:
    """What the row of scans lacks or has twice; None if it is as it should be.

    Without progression, each component is in one scan. With it, each bit of each code is sent once,
    from above, down to the last (T.81 G.1.1.1); what is left out was cut off at the end of a scan.
    """
    numbers = [part.number for part in layout.frame.parts]
    if not layout.frame.progressive:
        times = Counter(number for scan in layout.scans for number in scan.numbers)
        if any(times[number] > 1 for number in numbers):
            return "some of its scans come twice"
        return "scans are missing" if any(not times[number] for number in numbers) else None
    sent: dict[int, list[int | None]] = {number: [None] * 64 for number in numbers}
    for scan in layout.scans:
        first, last = scan.band
        for number in scan.numbers:
            for index in range(first, min(last, 63) + 1):
                before = sent[number][index]
                if scan.high != (before or 0) or before == 0:
                    return "its scans are in disorder"
                sent[number][index] = scan.low
    if any(bit != 0 for bits in sent.values() for bit in bits):
        return "its last scans are missing"
    return None


def header(data: bytes, layout: Layout) -> bytes:
    """All segments before the first scan, for who reads metadata, as a file of its own."""
    first = layout.scans[0].header
    before = layout.segments[: layout.segments.index(first) + 1]
    return b"\xff\xd8" + b"".join(_whole(data, segment) for segment in before)


def codes_only(data: bytes, layout: Layout) -> bytes:
    """The file, reduced to what its codes need, with an end marker.

    Metadata, what stands between segments and what follows the end are left out. Versions and
    transforms that libjpeg does not know become those that it then assumes, so that it has nothing
    to remark on but the codes.
    """
    scans = {scan.header.start: scan for scan in layout.scans}
    pieces = [b"\xff\xd8"]
    for segment in layout.segments:
        content = data[segment.start : segment.end]
        if segment.marker == _JFIF and content.startswith(b"JFIF\0") and len(content) >= 14:
            pieces.append(_segment(_JFIF, content[:5] + b"\1\1" + content[7:12] + b"\0\0"))
        elif segment.marker == _ADOBE and content.startswith(b"Adobe") and len(content) >= 12:
            pieces.append(_segment(_ADOBE, content[:11] + _transform(content[11], layout.frame)))
        elif segment.marker == _SOS:
            scan = scans[segment.start]
            bits = bytes([*scan.band, 16 * scan.high + scan.low])
            pieces += [_segment(_SOS, content[:-3] + bits), data[segment.end : scan.end]]
        elif segment.marker in {*_FRAMES, _DHT, _DAC, _DQT, _DRI}:
            pieces.append(_whole(data, segment))
    return b"".join(pieces) + b"\xff\xd9"


def _transform(told: int, frame: Frame) -> bytes:
    known = (0, 1) if len(frame.parts) == 3 else (0, 2)
    return bytes([told if told in known else known[1]])


def _whole(data: bytes, segment: Segment) -> bytes:
    return _segment(segment.marker, data[segment.start : segment.end])


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2) + content
