"""Everything a training run can be told: nested, typed, saved with every checkpoint.

`hrcnn-jax train` makes one flag of every field; names are unique over all sections, so that flags
need no prefix. What is saved carries a version.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from hrcnn_jax.data.planes import PLANES, Planes
from hrcnn_jax.jpeg.tables import BLOCK
from hrcnn_jax.networks import legacy, registry
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.networks.cards import Kind

UNIT = 16
"""Sides in pixels of validation pictures, which are crops, are multiples of this: whole MCUs of
4:2:0."""


def arg(**known: Any) -> Any:
    """What tyro is told of a field, as `tyro.conf.arg`; an empty default reads as none."""

    def hint(default: str) -> str:
        return f"(default: {'none' if default in ('', repr(''), 'None') else default})"

    return tyro.conf.arg(help_behavior_hint=hint, **known)


@dataclass(frozen=True)
class Data:
    """The pictures, and the crops that are cut from them."""

    pictures: Annotated[tuple[str, ...], arg(name="data", metavar="PICTURES")] = ()
    """Training pictures: folders, or tfds:NAME[@DIR], for instance tfds:div2k."""

    validation: Annotated[tuple[str, ...], arg(metavar="PICTURES")] = ()
    """Validation pictures; without any, a tenth of --data, and another is left for testing."""

    planes: Annotated[
        str,
        tyro.conf.arg(
            metavar="{" + ",".join(PLANES) + "}",
            help="What is trained on: the green channel (the paper); luma; each of R, G and B; any "
            "of R, G, B, Y, Cb, Cr, with chroma at full and half size; colour, all at once, for "
            "networks of chroma; or damaged, colour after a random chain of compressions, for "
            "networks of pictures.",
        ),
    ] = "green"

    crops: int = 20_000
    """Training crops to cut."""

    validation_crops: int = 200
    """Validation crops to cut."""

    crop: int = 128
    """Side of the stored crops in pixels."""

    patch: int = 64
    """Side in pixels of the random part of a crop that a step sees."""

    scales: tuple[float, ...] = (1.0,)
    """Pictures are resized by each of these before they are cut."""

    placement: Literal["auto", "device", "host"] = "auto"
    """Where crops live: on the device, on disk behind a loader, or whichever fits."""

    cache: Annotated[str, arg(metavar="FOLDER")] = ""
    """Where crops are kept and found again; without any, in crops/ beside the workdir."""


@dataclass(frozen=True)
class Codes:
    """The JPEG codes that crops become."""

    quality: Annotated[tuple[int, ...], tyro.conf.arg(metavar="Q [Q]")] = (10,)
    """JPEG quality: one, or the lowest and the highest."""

    tables: Literal["luminance", "any"] = "luminance"
    """Annex K's luminance table, or any: chrominance and non-standard tables, too."""

    luma: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "small"
    """For networks of chroma: the network that restores luma for them, by name or path."""


@dataclass(frozen=True)
class Optimisation:
    """How the parameters are changed."""

    batch: int = 16
    """Patches in a step, over all devices."""

    loss: Annotated[str, tyro.conf.arg(metavar="LOSS")] = "mse"
    """mse, charbonnier, ssim, or package.module:function."""

    balance: bool = False
    """Divide each patch's loss by the mean step of its table."""

    decibels: bool = False
    """Divide it by the patch's own mean squared error instead: to learn for the mean of PSNR."""

    teacher: Annotated[tuple[str, ...], arg(metavar="MODEL")] = ()
    """Aim at what this network makes of the same codes; at the mean of several."""

    teacher_share: Annotated[tuple[float, ...], arg(metavar="S [S]")] = (1.0, 0.0)
    """Share of the teacher in the target, the rest is the original; or the first and the last."""

    frozen: Annotated[tuple[str, ...], arg(metavar="PART")] = ()
    """Parts of the network that stay as they are, for instance the estimator of wild."""

    optimiser: Literal["sgd", "adam", "muon"] = "sgd"
    """SGD with momentum, Adam or Muon."""

    learning_rate: float = 0.01
    """Peak learning rate."""

    momentum: float = 0.9
    """Momentum of SGD."""

    warmup: int = 500
    """Steps of linear warm-up, half the run at most; a cosine leads down to zero."""

    clip: float = 1.0
    """Largest global norm of the gradient; 0 for no clipping."""

    ema: float = 0.999
    """Decay of the averaged parameters, which are the ones to validate and keep; 0 for none."""


@dataclass(frozen=True)
class Run:
    """How long, where and on what."""

    workdir: Annotated[str, tyro.conf.arg(metavar="FOLDER")] = "runs/hrcnn"
    """Checkpoints and logs go here."""

    steps: int = 100_000
    """Train until this step."""

    minutes: float = 0.0
    """Train for so long instead, compiling and validating included; the rate follows the clock."""

    seed: int = 0
    """Seed of initialisation, crops and augmentation."""

    log_every: int = 50
    """Steps between lines of the log."""

    eval_every: int = 1000
    """Steps between validations."""

    save_every: int = 1000
    """Steps between checkpoints."""

    parallel: Literal["jit", "sharded", "pmap"] = "jit"
    """One device, the batch sharded over all devices, or the same under pmap, of one process."""

    warm_start: Annotated[str, arg(metavar="MODEL")] = ""
    """Begin from a released network, a weights file or another run; smaller ones are grown."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """What convolutions compute in, or only multiply; what makes or reads a picture is float32."""


@dataclass(frozen=True)
class Settings:
    """A training run.

    Attributes:
      architecture: what is trained: a key of the registry, or `package.module:NAME`.
      network: options of the architecture, those left out at their defaults.
      data: pictures and crops.
      codes: what crops become.
      optimisation: how parameters are changed.
      run: how long, where and on what.
    """

    architecture: str = registry.DEFAULT
    network: Mapping[str, Any] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    codes: Codes = field(default_factory=Codes)
    optimisation: Optimisation = field(default_factory=Optimisation)
    run: Run = field(default_factory=Run)

    @property
    def options(self) -> dict[str, Any]:
        """All options that the network is built with; they are what a card keeps."""
        architecture = registry.get(self.architecture)
        options = architecture.options | dict(self.network)
        if architecture.serves_one_quality:
            options["quality"] = self.codes.quality[0]
        return options

    def changed(self, **values: Any) -> "Settings":
        """These settings with some values replaced, whichever section they are in.

        Raises:
          ValueError: if there is no setting of that name.
        """
        sections: dict[str, Any] = {}
        for name, value in values.items():
            section = _section_of(name)
            if section is None and name == "architecture":
                sections[name] = value
            elif section is None:
                sections.setdefault("network", dict(self.network))[name] = value
            else:
                before = sections.get(section, getattr(self, section))
                sections[section] = dataclasses.replace(before, **{name: value})
        after = dataclasses.replace(self, **sections)
        after._check_options()
        return after

    def _check_options(self) -> None:
        unknown = self.network.keys() - flags_of(registry.get(self.architecture)).keys()
        if unknown:
            raise ValueError(
                f"no setting {', '.join(sorted(unknown))}, and no option of that name of the "
                f"architecture {self.architecture}"
            )

    def check(self) -> None:
        """Raises ValueError, saying what to change, if the values do not fit together."""
        data, quality = self.data, self.codes.quality
        architecture = registry.get(self.architecture)
        self._check_options()
        if not data.pictures:
            raise ValueError("no training pictures: give --data FOLDER or --data tfds:div2k")
        if data.planes not in PLANES:
            raise ValueError(f"--planes: no {data.planes!r}: choose from {', '.join(PLANES)}")
        if not 1 <= len(quality) <= 2 or not all(1 <= q <= 100 for q in quality):
            raise ValueError(f"--quality takes one or two values from 1 to 100, got {quality}")
        if quality[0] > quality[-1]:
            raise ValueError(f"--quality takes the lowest first, got {quality}")
        if architecture.serves_one_quality and len(quality) > 1:
            raise ValueError(
                f"{self.architecture} is trained for one quality: give --quality one value"
            )
        if architecture.serves_one_quality and self.codes.tables != "luminance":
            raise ValueError(
                f"{self.architecture} is not told its table, and so trained for one: give --tables "
                "luminance"
            )
        if data.patch % 8 or data.patch > data.crop:
            raise ValueError(
                f"--patch {data.patch} must be a multiple of 8 and at most --crop {data.crop}"
            )
        if data.crop < UNIT:
            raise ValueError(f"--crop must be {UNIT} or more, got {data.crop}")
        planes = PLANES[data.planes]
        if _kind_of(planes) != architecture.kind:
            raise ValueError(
                f"--planes {data.planes} and --architecture {self.architecture} do not go "
                "together: networks of chroma are trained on colour, networks of pictures on "
                "damaged, and no others are"
            )
        if planes.at_once and data.patch % UNIT:
            raise ValueError(f"--patch {data.patch} must be a multiple of {UNIT} for 4:2:0 colour")
        if planes.has_chroma and data.crop < 2 * data.patch:
            raise ValueError(
                f"--planes {data.planes} halves chroma: --crop must be at least twice --patch"
            )
        if self.optimisation.balance and self.optimisation.decibels:
            raise ValueError("--decibels takes the place of --balance: add --no-balance")
        share = self.optimisation.teacher_share
        if not 1 <= len(share) <= 2 or not all(0 <= each <= 1 for each in share):
            raise ValueError(f"--teacher-share takes one or two values from 0 to 1, got {share}")
        if planes.damaged and data.crop % BLOCK:
            raise ValueError(f"--crop {data.crop} must be a multiple of 8 for damaged pictures")
        if not data.scales or not all(0 < scale < math.inf for scale in data.scales):
            raise ValueError(f"--scales takes values above 0, got {data.scales}")
        for section, bounds in _BOUNDS.items():
            for name, (least, most) in bounds.items():
                value = getattr(getattr(self, section), name)
                if not least <= value <= most:  # nor if it is no number
                    limits = f"{least} or more" if most == math.inf else f"from {least} to {most}"
                    raise ValueError(f"--{name.replace('_', '-')} must be {limits}, got {value}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, with the version of its layout."""
        values = dataclasses.asdict(self)
        for section in SECTIONS:
            values[section] = {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in values[section].items()
            }
        return {"version": legacy.VERSION, **values, "network": dict(self.network)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: object) -> "Settings":
        """Inverse of `to_dict`; takes what earlier versions saved, too.

        Args:
          values: as saved.
          source: where they are from, for messages.

        Raises:
          ValueError: if a section or a value is unknown or missing.
        """
        try:
            known = _upgraded(values, source)
            del known["version"]
            architecture = registry.get(known["architecture"])
            taken = flags_of(architecture)
            network = {name: v for name, v in known.pop("network").items() if name in taken}
            sections = {
                name: _section(kind, known.pop(name), f"{source}: {name}")
                for name, kind in SECTIONS.items()
            }
            return cls(known.pop("architecture"), network, **_all_used(known, source, sections))
        except KeyError as error:
            raise ValueError(f"{source}: the saved settings lack {error}") from error


_BOUNDS: dict[str, dict[str, tuple[float, float]]] = {
    "run": {
        **dict.fromkeys(("steps", "log_every", "eval_every", "save_every"), (1, math.inf)),
        "minutes": (0, math.inf),
        "seed": (0, 2**32 - 1),
    },
    "optimisation": {
        "batch": (1, math.inf),
        **dict.fromkeys(("learning_rate", "warmup", "clip"), (0, math.inf)),
        **dict.fromkeys(("momentum", "ema"), (0, 1)),
    },
    "data": dict.fromkeys(("crops", "validation_crops", "patch"), (1, math.inf)),
}
"""The least and the largest that numbers may be, by section."""

SECTIONS: dict[str, type] = {
    "data": Data,
    "codes": Codes,
    "optimisation": Optimisation,
    "run": Run,
}


def flags_of(architecture: Architecture) -> dict[str, Any]:
    """The options of an architecture that a run can choose, and their defaults."""
    follows = {"quality"} if architecture.serves_one_quality else set()
    return {name: value for name, value in architecture.options.items() if name not in follows}


def _kind_of(planes: Planes) -> Kind:
    """The kind of networks that can be trained on them."""
    if planes.damaged:
        return "pictures"
    return "chroma" if planes.at_once else "planes"


def _upgraded(values: Mapping[str, Any], source: object) -> dict[str, Any]:
    try:
        return legacy.upgraded_settings(values)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _section_of(name: str) -> str | None:
    for section, kind in SECTIONS.items():
        if any(each.name == name for each in dataclasses.fields(kind)):
            return section
    return None


def _section(kind: type, values: Mapping[str, Any], source: str) -> Any:
    names = {each.name for each in dataclasses.fields(kind)}
    unknown = values.keys() - names
    if unknown:
        raise ValueError(
            f"{source}: unknown settings {', '.join(sorted(unknown))}; they are of another version"
        )
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _all_used(rest: Mapping[str, Any], source: object, sections: dict[str, Any]) -> dict[str, Any]:
    if rest.keys() - {"architecture"}:
        raise ValueError(f"{source}: unknown sections {', '.join(sorted(rest))}")
    return sections
