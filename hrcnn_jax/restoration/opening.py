"""What pictures may be given as, and how each is read."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from hrcnn_jax.files import pictures, reader
from hrcnn_jax.files.pictures import Picture, Stored
from hrcnn_jax.files.reader import JpegError, JpegFile

Source = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Image.Image
    | NDArray[np.uint8]
    | JpegFile
    | Picture
)
"""A JPEG, PNG, WebP, TIFF or BMP file: its path, its content, a file object that is read from where
it stands, what Pillow opened, or a file already read; or an array of pixels."""


def opened(source: Source, max_pixels: int | None) -> Stored:
    """What a source holds: a file is read, unless that has been done.

    Args:
      source: what may be restored.
      max_pixels: refuse larger files, and larger pictures of Pillow's; None for no limit.

    Raises:
      JpegError: if a file cannot be read, or Pillow cannot load a picture.
      TypeError: if it is none of these.
      ValueError: if an array is no picture.
    """
    if isinstance(source, JpegFile | Picture):
        return source
    if isinstance(source, np.ndarray):
        return pictures.of_array(source)
    content: Any
    if isinstance(source, str | os.PathLike):
        content = source
    elif isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
    elif isinstance(source, JpegImageFile):
        content = _file_of(source)
    elif isinstance(source, Image.Image):
        reader.check_size(pictures.name_of(source), source.size, max_pixels)
        return pictures.of_image(source)
    else:
        content = source.read() if callable(getattr(source, "read", None)) else source
        if not isinstance(content, bytes):
            found = "a text file" if isinstance(content, str) else f"{type(content).__name__}"
            raise TypeError(
                "expected a picture: a file's path, its content as bytes, a file opened in binary "
                f"mode, a picture of Pillow's, or an array of pixels; got {found}"
            )
    return pictures.read(content, max_pixels=max_pixels)


def _file_of(image: JpegImageFile) -> str | bytes:
    """What Pillow opened; it closes files once their pixels are loaded."""
    if image.fp is not None and not image.fp.closed:
        place = image.fp.tell()
        image.fp.seek(0)
        content = image.fp.read()
        image.fp.seek(place)
        return content
    if image.filename:
        return os.fspath(image.filename)
    raise JpegError(
        "this picture's file is no longer at hand, since Pillow has loaded its pixels: give the "
        "file's bytes instead"
    )


def ahead(read: Callable[[Source], Stored], sources: Iterable[Source]) -> Iterator[Stored]:
    """Files in order, each read while the caller works on the one before it."""
    with ThreadPoolExecutor(1) as pool:
        begun: deque[Future[Stored]] = deque()
        for source in sources:
            begun.append(pool.submit(read, source))
            if len(begun) > 1:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
