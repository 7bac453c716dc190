"""The command line: ``python -m hrcnn_jax restore|models|demo|release``."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from hrcnn_jax import codec, figures, released, restorer
from hrcnn_jax.codec import JpegError, JpegFile
from hrcnn_jax.files import written_whole
from hrcnn_jax.released import ModelError
from hrcnn_jax.restorer import Restorer

SAMPLE = Path(__file__).parent / "sample"
SAMPLE_DETAIL = slice(140, 340), slice(60, 300)
"""What the demo enlarges of the sample: rows and columns of pixels."""


class OutputError(OSError):
    """A result that cannot be written; the message says where and why."""


def parser() -> argparse.ArgumentParser:
    """The subcommands and their flags."""
    main = argparse.ArgumentParser(
        prog="hrcnn-jax", description="Restore JPEG pictures straight from their codes."
    )
    commands = main.add_subparsers(required=True, metavar="COMMAND")

    restore = commands.add_parser("restore", help="restore JPEG files")
    restore.add_argument("inputs", nargs="+", metavar="IN", help="JPEG files")
    restore.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for PNGs")
    restore.add_argument(
        "--model",
        default=released.DEFAULT,
        metavar="NAME",
        help=f"released network (default: {released.DEFAULT}; see the command models)",
    )
    restore.add_argument(
        "--compare", action="store_true", help="also write NAME.compare.png, before and after"
    )
    restore.add_argument(
        "--strength", type=float, default=1.0, metavar="S", help="0: plain decode, to 1 (default)"
    )
    restore.add_argument(
        "--no-faithful",
        dest="faithful",
        action="store_false",
        help="let the result disagree with the file's codes",
    )
    restore.add_argument(
        "--max-pixels",
        type=int,
        default=codec.MAX_PIXELS,
        metavar="N",
        help=f"refuse larger pictures (default: {codec.MAX_PIXELS:,})",
    )
    restore.set_defaults(run=run_restore)

    models = commands.add_parser("models", help="list the released networks")
    models.add_argument("--json", action="store_true", help="as JSON")
    models.set_defaults(run=run_models)

    demo = commands.add_parser("demo", help="restore the bundled photograph, print the gain")
    demo.add_argument("-o", "--output", default="demo", metavar="OUT", help="default: demo/")
    demo.set_defaults(run=run_demo)

    release = commands.add_parser("release", help="write a training run's best weights and card")
    release.add_argument("workdir", help="folder of the run")
    release.add_argument("name", help="name of the network")
    release.set_defaults(run=run_release)
    return main


def run_restore(flags: argparse.Namespace) -> int:
    """Restores every file it can; the status is 1 if any failed."""
    network = Restorer(flags.model, faithful=flags.faithful, strength=flags.strength)
    folder = _output_folder(flags.output)
    written: dict[Path, str] = {}
    failures = 0
    for name in tqdm(flags.inputs, unit="file", disable=None if len(flags.inputs) > 1 else True):
        try:
            target = folder / f"{Path(name).stem}.png"
            if target in written:
                raise OutputError(
                    f"{name}: {target} is already taken by {written[target]}; restore one of the "
                    "two into another folder"
                )
            restore_file(name, target, network, compare=flags.compare, max_pixels=flags.max_pixels)
            written[target] = name
        except (JpegError, OutputError) as error:
            failures += 1
            _complain(error)
    if failures and len(flags.inputs) > 1:
        _complain(f"{failures} of {len(flags.inputs)} files could not be restored")
    return 1 if failures else 0


def restore_file(
    name: str, target: Path, network: Restorer, *, compare: bool, max_pixels: int
) -> None:
    """Restores one file to ``target``, and the comparison beside it.

    Raises:
      JpegError: if the file cannot be restored.
      OutputError: if the result cannot be written.
    """
    file = codec.read(name, max_pixels=max_pixels)
    restored = network.restore(file)
    if compare:
        before_after = figures.side_by_side(restorer.decode(file), restored)
        write_png(target.with_suffix(".compare.png"), before_after, file)
    write_png(target, restored, file)


def write_png(path: Path, picture: NDArray[np.uint8], file: JpegFile | None = None) -> None:
    """Writes a picture upright, with the file's EXIF and ICC, under a temporary name first.

    Raises:
      OutputError: if it cannot be written.
    """
    image = Image.fromarray(picture)
    if file is not None and file.exif:
        image.info["exif"] = file.exif
        image = ImageOps.exif_transpose(image)
    icc = file.icc if file is not None else None
    try:
        with written_whole(path) as partial:
            image.save(partial, "PNG", icc_profile=icc, exif=image.info.get("exif", b""))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def run_models(flags: argparse.Namespace) -> int:
    """Prints the released networks: a table, or their cards as JSON."""
    cards = {name: dict(released.load(name).card) for name in released.names()}
    if flags.json:
        print(json.dumps(cards, indent=2))
        return 0
    head = ("name", "network", "parameters", "multiply-adds/px", "quality", "trained on", "gain")
    print(_table([head, *(_model_row(name, card) for name, card in cards.items())]))
    return 0


def run_demo(flags: argparse.Namespace) -> int:
    """Restores the bundled photograph and compares both pictures with the original."""
    folder = _output_folder(flags.output)
    file = codec.read(SAMPLE / "parrots.jpg")
    original = np.asarray(Image.open(SAMPLE / "parrots.webp").convert("RGB"))
    network = Restorer()
    plain, restored = restorer.decode(file), network.restore(file)
    write_png(folder / "parrots.png", restored)
    write_png(folder / "parrots.compare.png", figures.side_by_side(plain, restored))
    details = (_enlarge(picture[SAMPLE_DETAIL]) for picture in (plain, restored))
    write_png(folder / "parrots.detail.png", figures.side_by_side(*details))
    before, after = _psnr(plain, original), _psnr(restored, original)
    print(f"plain JPEG   {before:.2f} dB")
    print(f"restored     {after:.2f} dB   (network {network.network.name})")
    print(f"gain        {after - before:+.2f} dB   (PSNR over RGB)")
    for kind in ("compare", "detail"):
        print(f"before and after, side by side: {folder / f'parrots.{kind}.png'}")
    return 0


def run_release(flags: argparse.Namespace) -> int:
    """Writes weights and card into the package."""
    print(released.release(flags.workdir, flags.name))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    flags = parser().parse_args(argv)
    try:
        return flags.run(flags)
    except (ModelError, OutputError, ValueError) as error:
        _complain(error)
        return 1


def _output_folder(name: str) -> Path:
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{name}: cannot write into this folder ({reason})") from error
    return folder


def _model_row(name: str, card: dict[str, Any]) -> tuple[str, ...]:
    gains = [
        f"{score['gain']:+.2f} at {quality}"
        for quality, score in next(iter(card["scores"].values()), {}).items()
    ]
    return (
        name,
        card["architecture"],
        f"{card['parameters']:,}",
        f"{card['multiply_adds_per_pixel']:,}",
        "-".join(map(str, card["qualities"])),
        " ".join(card["data"]),
        ", ".join(gains) + (f" ({next(iter(card['scores']))}, dB)" if gains else ""),
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _enlarge(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture.repeat(3, axis=0).repeat(3, axis=1)


def _psnr(picture: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
    error = np.mean((picture.astype(np.float64) - original) ** 2)
    return float(10 * np.log10(255**2 / error))


def _complain(error: object) -> None:
    tqdm.write(f"hrcnn-jax: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
