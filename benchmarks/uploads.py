"""Memory of the app under many uploads, broken ones among them: `python -m benchmarks.uploads`.

Starts `hrcnn-jax app`, sends it pictures of all kinds one after another, every fifth one broken,
and prints after every ten what the app's process holds (Linux). Ends with an error if an answer is
anything but a picture, or a sentence for what is broken.
"""

import argparse
import json
import random
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from benchmarks import pictures

FORMATS = ("png", "tiff16", "webp", "jpeg")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploads", description=__doc__)
    parser.add_argument("--uploads", type=int, default=50, metavar="N")
    parser.add_argument("--megapixels", type=float, default=4.0, metavar="MP", help="at most")
    given = parser.parse_args()
    command = [sys.executable, "-m", "hrcnn_jax", "app", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        address = app.stdout.readline().split()[2]
        try:
            measure(app.pid, address, given.uploads, given.megapixels)
        finally:
            app.terminate()


def measure(process: int, address: str, count: int, megapixels: float) -> None:
    """Sends all files, and prints the table."""
    answers: dict[str, int] = {}
    print("uploads   MiB held   MiB at most")
    for number, (content, is_broken) in enumerate(uploads(count, megapixels), 1):
        wish = {
            "name": f"{number}.jpg",
            "format": FORMATS[number % len(FORMATS)],
            "strength": (1.0, 0.5, 1.0, 0.0, 0.8)[number % 5],
            "history": ("off", "auto")[number % 2],
        }
        for path in ("inspect", "restore"):
            status = send(f"{address}api/{path}?{urlencode(wish)}", content)
            answers[str(status)] = answers.get(str(status), 0) + 1
            if (status != 200) != is_broken or status not in (200, 422):
                raise SystemExit(f"upload {number}: {path} was answered with {status}")
        if number % 10 == 0:
            print(f"{number:7}{held(process, 'VmRSS'):11}{held(process, 'VmHWM'):14}")
    print(f"answers by status: {json.dumps(answers)}")


def uploads(count: int, megapixels: float) -> Iterator[tuple[bytes, bool]]:
    """Files, the same ones in every run; and whether they are broken."""
    draw = random.Random(0)
    for number in range(count):
        size = draw.uniform(0.05, megapixels)
        quality = draw.randint(5, 95)
        content = pictures.file(size, quality=quality, gray=number % 7 == 3)
        is_broken = number % 5 == 4
        yield content[: len(content) // 3] if is_broken else content, is_broken


def send(url: str, content: bytes) -> int:
    """The status of the answer to a file."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=content)) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def held(process: int, what: str) -> int:
    """Memory of a process in MiB, as Linux tells it."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(what))


if __name__ == "__main__":
    main()
