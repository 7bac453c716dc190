"""Broken files through the reader: `python -m benchmarks.refusals`.

Valid files are broken in many ways, the same ones each time, and read. What matters is that none
crashes the reader, hangs it (for 20 seconds) or raises anything but its own error. Those that are
`taken` are read without a complaint: a mutation may leave a valid file. A cut never does: of files
cut off anywhere in the first picture, with and without an end marker put back, none may be taken.
"""

import argparse
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks import results
from fuzz import seeds
from fuzz.mutations import EOI, MUTATIONS, mutants
from hrcnn_jax.files import reader
from hrcnn_jax.files.reader import JpegError

SECONDS = 20
"""For a file of some kilobytes; a millisecond is usual."""

OUTCOMES = ("refused", "taken", "raised", "crashed", "hung")


def outcome(data: bytes) -> str:
    """What becomes of a file that does not end the process."""
    try:
        reader.read(data, max_pixels=200_000)
    except JpegError:
        return "refused"
    except Exception:
        return "raised"
    return "taken"


def outcomes(files: Sequence[bytes]) -> Counter[str]:
    """What becomes of files, read in a process of their own, and in another if one ends it."""
    counted: Counter[str] = Counter()
    done = 0
    while done < len(files):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            for data in files[done:]:
                signal.alarm(SECONDS)
                os.write(writing, bytes([OUTCOMES.index(outcome(data))]))
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:  # noqa: PTH123 (it has no path)
            told = pipe.read()
        status = os.waitpid(child, 0)[1]
        counted.update(OUTCOMES[each] for each in told)
        done += len(told)
        if status:
            counted["hung" if os.WTERMSIG(status) == signal.SIGALRM else "crashed"] += 1
            done += 1
    return counted


def cuts(files: Sequence[bytes], end: bytes, every: int) -> Iterator[bytes]:
    """Files cut off within their first picture, before its last code, and `end` put behind."""
    for data in files:
        whole = data.index(EOI) if data.count(EOI) == 1 else data.index(b"\xff\xd9\xff\xd8")
        yield from (data[:cut] + end for cut in range(0, whole, every))


def measured(count: int, every: int) -> dict[str, dict[str, int]]:
    """What becomes of `count` mutants a mutation, and of files cut off at every so many bytes."""
    whole = [seed for seed in seeds.jpegs() if seed.count(EOI) < 3]
    rows = {
        mutate.__name__: [data for _, data in mutants(mutate, whole, count)] for mutate in MUTATIONS
    }
    rows["cut off"] = list(cuts(whole, b"", every))
    rows["cut off, end put back"] = list(cuts(whole, EOI, every))
    found = {}
    for name, files in rows.items():
        counted = outcomes(files)
        found[name] = {"tried": len(files)} | {each: counted[each] for each in OUTCOMES}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refusals", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="a mutation (default: 2000)")
    parser.add_argument("--every", type=int, default=1, help="bytes between cuts (default: 1)")
    parser.add_argument("--output", help="write all figures to this JSON file")
    given = parser.parse_args()
    rows = measured(given.count, given.every)
    rows["in all"] = {name: sum(row[name] for row in rows.values()) for name in rows["cut off"]}
    print(f"{'':24}" + "".join(f"{name:>9}" for name in ("tried", *OUTCOMES)))
    for name, row in rows.items():
        print(f"{name:24}" + "".join(f"{number:9,}" for number in row.values()))
    results.write(given.output, {"rows": rows})


if __name__ == "__main__":
    main()
