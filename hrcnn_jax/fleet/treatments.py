"""What becomes of a file: a row of the manifest, and its restored picture or none."""

import io
import json
import platform
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from hrcnn_jax.files import writer
from hrcnn_jax.files.pictures import Stored
from hrcnn_jax.files.reader import JpegError
from hrcnn_jax.files.writer import FORMATS, QUALITY
from hrcnn_jax.history import find, inspection
from hrcnn_jax.networks.cards import Card, ModelError
from hrcnn_jax.restoration import compilation, verification
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores.account import expected, hash_of
from hrcnn_jax.scores.expectation import expected_gain


class Treated(NamedTuple):
    """What became of a file.

    Attributes:
      facts: values for the manifest's columns.
      picture: the content of the picture's file; None if there is none to be written.
    """

    facts: dict[str, Any]
    picture: bytes | None


class Treatment(Protocol):
    """Is sent to every worker, and there called with one file after another.

    Attributes:
      suffix: of pictures; None if none are written.
    """

    @property
    def suffix(self) -> str | None: ...  # noqa: D102

    def prepare(self) -> None:
        """Makes sure that files can be treated here.

        Raises:
          ValueError: if they cannot.
        """

    def compute(self, file: Stored) -> Any:
        """What takes long, on the calling thread."""

    def encode(self, computed: Any) -> Treated:
        """The rest, on another thread."""


@dataclass(frozen=True)
class Inspection:
    """Tells what files are, and what a network would gain on them.

    Attributes:
      card: of the network.
    """

    card: Card
    suffix: None = None

    def prepare(self) -> None:
        """Nothing is needed."""

    def compute(self, file: Stored) -> Treated:
        """Looks for a compression before the last, which is what takes long."""
        found = find(file)
        told = None if found is None else inspection.history(found)
        return Treated(_facts(file, told, self.card), None)

    def encode(self, computed: Treated) -> Treated:
        """Nothing is left to do."""
        return computed


@dataclass(frozen=True)
class Restoration:
    """Restores files.

    It holds names instead of a network, so that it is small: Ray begins a worker anew by what it
    was made from, and keeps nothing large for that.

    Attributes:
      model: a released network's name, or a weights file or a training run's folder that is the
        same on all machines.
      model_hash: SHA-256 of its weights, as `hash_of` has it.
      pixels: as `model`, or None, as of `Restorer`.
      pixels_hash: of its weights; None if there is none.
      strength: as of `Restorer`.
      faithful: as of `Restorer`; a result that disagrees with codes that it is to give back then
        counts as failed.
      history: as of `Restorer`.
      format: of pictures, a key of `hrcnn_jax.files.writer.FORMATS`.
      quality: of JPEG and WebP.
    """

    model: str
    model_hash: str
    pixels: str | None = None
    pixels_hash: str | None = None
    strength: float = 1.0
    faithful: bool = True
    history: Any = "auto"
    format: str = "png"
    quality: int = QUALITY

    @property
    def restorer(self) -> Restorer:
        """What restores, the same at every call in a process."""
        return _restorer(self.model, self.pixels, self.strength, self.faithful, self.history)

    def prepare(self) -> None:
        """Loads the networks, which have to be those that were meant."""
        for name, known in ((self.model, self.model_hash), (self.pixels, self.pixels_hash)):
            if name is not None and hash_of(name) != known:
                raise ModelError(
                    f"{name}: its weights are others on {platform.node()}; install the same "
                    "version of this package, and the same weights, on all machines"
                )
        _ = self.restorer

    @property
    def suffix(self) -> str:
        """Of pictures."""
        return FORMATS[self.format].suffix

    def compute(self, file: Stored) -> tuple[Stored, Any, dict[str, Any]]:
        """Restores a file; its picture and what is told of it."""
        source = self.restorer.damaged(file)
        network = self.restorer.used(source.verdict)
        is_own = network is self.restorer.network
        history = None if source.history is None else inspection.history(source.history)
        tally = verification.Tally()
        depth = FORMATS[self.format].depth
        picture = self.restorer.picture(
            file, source, depth, lambda _, plane, part: verification.watched(plane, part, tally)
        )
        equal, total = tally.equal, tally.total
        if self.restorer.keeps_codes(source) and equal < total:
            raise JpegError(f"{file.name}: the result is not faithful: {equal} of {total} codes")
        facts = _facts(file, history, network.card) | {
            "network": network.name,
            "network_hash": self.model_hash if is_own else self.pixels_hash,
            "codes_share": equal / total if total else None,
            "expected_gain_db": expected(source, network, self.strength),
        }
        return file, picture, facts

    def encode(self, computed: tuple[Stored, Any, dict[str, Any]]) -> Treated:
        """Writes the picture into memory."""
        file, picture, facts = computed
        stream = io.BytesIO()
        try:
            writer.save(stream, picture, FORMATS[self.format], file=file, quality=self.quality)
        except ValueError as error:
            raise JpegError(f"{file.name}: cannot be written ({error})") from error
        return Treated(facts, stream.getvalue())


@lru_cache(1)
def _restorer(
    model: str, pixels: str | None, strength: float, faithful: bool, history: Any
) -> Restorer:
    compilation.keep_programs()
    return Restorer(model, pixels=pixels, strength=strength, faithful=faithful, history=history)


def _facts(file: Stored, history: dict[str, Any] | None, card: Card) -> dict[str, Any]:
    told = inspection.inspect(file, None)
    damaging = inspection.quality_of_damage(told | {"history": history})
    names = "damage", "width", "height", "colour", "sampling", "coding", "quality"
    return {
        **{name: told.get(name) for name in (*names, "quality_is_exact")},
        "history": None if history is None else json.dumps(history),
        "expected_gain_db": None if damaging is None else expected_gain(card, damaging),
    }
