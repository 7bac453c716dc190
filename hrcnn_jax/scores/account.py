"""What was done to a picture, as an archive can keep it: found, proved, restored from, by what."""

import hashlib
from pathlib import Path
from typing import Any

from hrcnn_jax.files.pictures import Stored
from hrcnn_jax.files.reader import JpegFile
from hrcnn_jax.history import inspection
from hrcnn_jax.history.table import nearest_quality
from hrcnn_jax.networks import zoo
from hrcnn_jax.networks.cards import Card
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration.blind import Verdict
from hrcnn_jax.restoration.earlier import Damaged
from hrcnn_jax.restoration.verification import Tally
from hrcnn_jax.scores.expectation import expected_gain

COLUMNS = {
    "path": "string",
    "target": "string",
    "error": "string",
    "damage": "string",
    "kind": "string",
    "width": "int32",
    "height": "int32",
    "colour": "string",
    "quality": "int32",
    "estimated_quality": "double",
    "network": "string",
    "network_sha256": "string",
    **inspection.COLUMNS,
    "tables": "list<list<list<int32>>>",
    "codes_back": "double",
    "expected_gain": "double",
}
"""What an account tells, by Arrow's names of types.

- `damage`: what is wrong with the file's codes, if it was salvaged.
- `quality`: libjpeg's, whose tables are the file's own or nearest to them.
- `estimated_quality`: the JPEG quality that would do as much damage as the picture has suffered, as
  a network of pictures estimates or was told.
- `history`: whether it was restored from an earlier compression, which the next columns tell;
  `history_proof` is, of each component, the share of the file's codes that comes back when the
  chain is played again.
- `tables`: of the components it was restored from, luma first.
- `codes_back`: the share of their codes that the restored planes give back.
- `expected_gain`: in dB, by the network's card and the tables.
"""


def account(
    given: Stored,
    source: Damaged,
    network: Network,
    sha256: str,
    back: Tally | None,
    *,
    strength: float = 1.0,
) -> dict[str, Any]:
    """A row of `COLUMNS`, without where the result went.

    Args:
      given: the file.
      source: what it was restored from.
      network: that did it.
      sha256: of its weights.
      back: how many codes the restored planes gave back; None if that was not counted.
      strength: that it was restored with.
    """
    row: dict[str, Any] = {
        "path": given.name,
        "damage": given.damage,
        "kind": "JPEG" if isinstance(given, JpegFile) else given.kind,
        "width": given.width,
        "height": given.height,
        "colour": given.colour,
        "network": network.name,
        "network_sha256": sha256,
        "expected_gain": expected(source, network, strength),
    }
    if source.verdict is not None:
        row["estimated_quality"] = source.verdict.quality
    if isinstance(given, JpegFile):
        row["quality"] = inspection.libjpeg_quality(given)[0]
    if isinstance(source.file, JpegFile):
        parts = list(source.file.components)
        parts[0] = source.luma or parts[0]
        row["tables"] = [part.table.tolist() for part in parts]
        row["codes_back"] = None if back is None else back.share
    found = None if source.history is None else inspection.history(source.history)
    return row | inspection.row(found)


def expected(source: Damaged, network: Network, strength: float) -> float | None:
    """The gain in dB to expect of restoring luma; None if it is not known.

    At strengths between 0, where there is none, and 1 it is that of the latter.
    """
    if strength == 0.0:
        return 0.0
    if source.verdict is not None:
        return of_verdict(source.verdict, network.card)
    if not isinstance(source.file, JpegFile) or network.architecture.kind == "pictures":
        return 0.0  # pixels, and inks, that are left as they are
    part = source.luma or source.file.components[0]
    return expected_gain(network.card, nearest_quality(part.table))


def of_verdict(verdict: Verdict, card: Card) -> float | None:
    """The gain in dB to expect of restoring pixels; None if it is not known.

    Cards tell of files that were compressed once; where no table explains the damage, less comes
    back.
    """
    if verdict.intact:
        return 0.0
    return None if verdict.unexplained else expected_gain(card, round(verdict.quality))


def hash_of(model: str) -> str:
    """SHA-256 of a network's weights file, in hexadecimal digits.

    Raises:
      ModelError: if there is no such network.
    """
    return sha256_of(zoo.find(model)[1])


def sha256_of(weights: Path) -> str:
    """The hash of a file, in hexadecimal digits."""
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
