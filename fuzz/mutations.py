"""Files that were valid, broken in many ways; a mutation and a seed tell each."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

Mutation = Callable[[bytes, Random], bytes]

SOS, EOI = b"\xff\xda", b"\xff\xd9"
STARTS_OF_FRAME = b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"


def truncated(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def bits_flipped(data: bytes, random: Random) -> bytes:
    mutated = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 30))):
        mutated[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(mutated)


def header_bits_flipped(data: bytes, random: Random) -> bytes:
    head = data.index(SOS) + 14
    return bits_flipped(data[:head], random) + data[head:]


def bytes_overwritten(data: bytes, random: Random) -> bytes:
    at, length = random.randrange(len(data)), random.randrange(1, 40)
    junk = random.choice((random.randbytes(length), b"\xff" * length, bytes(length)))
    return data[:at] + junk + data[at + length :]


def cut_out(data: bytes, random: Random) -> bytes:
    start, end = sorted(random.randrange(len(data)) for _ in range(2))
    return data[:start] + data[end:]


def repeated(data: bytes, random: Random) -> bytes:
    start, end = sorted(random.randrange(len(data)) for _ in range(2))
    return data[:end] + data[start:end] * random.randrange(1, 4) + data[end:]


def moved(data: bytes, random: Random) -> bytes:
    """The end of it behind its beginning, from wherever."""
    return data[: random.randrange(len(data))] + data[random.randrange(len(data)) :]


def enormous(data: bytes, random: Random) -> bytes:
    """Dimensions that the few bytes of data cannot have."""
    frame = min(data.find(marker) for marker in STARTS_OF_FRAME if marker in data) + 5
    sides = [random.choice((0, 1, 8, 447, 4000, 65500, 65535)) for _ in range(2)]
    return data[:frame] + b"".join(side.to_bytes(2) for side in sides) + data[frame + 4 :]


def flooded(data: bytes, random: Random) -> bytes:
    """A marker segment some thousand times over, whole or not."""
    marker = random.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDB, 0xC4, 0xDD, 0xD0, 0xDA, 0xC0))
    content = random.choice((b"", b"Exif\0\0MM\0*", b"ICC_PROFILE\0\1\1", b"Adobe", bytes(65)))
    segment = bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2) + content
    at = random.choice((2, data.index(SOS), random.randrange(2, len(data))))
    return data[:at] + segment * random.choice((3, 60, 3000)) + data[at:]


def rescanned(data: bytes, random: Random) -> bytes:
    """The same scans over and over."""
    start, end = data.index(SOS), data.index(EOI)
    return data[:end] + data[start:end] * random.choice((1, 20, 2000)) + data[end:]


MUTATIONS: list[Mutation] = [
    truncated,
    bits_flipped,
    header_bits_flipped,
    bytes_overwritten,
    cut_out,
    repeated,
    moved,
    enormous,
    flooded,
    rescanned,
]


def mutants(
    mutate: Mutation, files: Sequence[bytes], count: int, first: int = 0
) -> Iterator[tuple[str, bytes]]:
    """Mutants of valid files, with their names; the same for the same arguments."""
    for seed in range(first, first + count):
        random = Random(f"{mutate.__name__} {seed}")
        yield f"{mutate.__name__}, seed {seed}", mutate(random.choice(files), random)
