"""Everything a training run can be told, in one dataclass, and the presets that are named.

``train.py`` makes one flag of every field; a checkpoint carries the whole of it.
"""

from dataclasses import dataclass, field
from typing import Any


def option(default: Any, group: str, text: str, **extra: Any) -> Any:
    """A field with the group and help text that ``--help`` shows."""
    metadata = {"group": group, "help": text, **extra}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """A training run. Tuples are given on the command line as several values."""

    workdir: str = option("runs/hrcnn", "run", "checkpoints, logs and the cache of crops go here")
    steps: int = option(100_000, "run", "train until this step")
    seed: int = option(0, "run", "of initialisation, crops and augmentation")
    log_every: int = option(50, "run", "steps between lines of the log")
    eval_every: int = option(1000, "run", "steps between validations")
    save_every: int = option(1000, "run", "steps between checkpoints")
    parallel: str = option(
        "jit",
        "run",
        "one device, the batch sharded over all devices, or the same under pmap",
        choices=("jit", "sharded", "pmap"),
    )
    warm_start: str = option(
        "", "run", "begin from the weights of this released network or run; smaller ones are grown"
    )

    architecture: str = option(
        "hrcnn", "network", "which architecture", choices=("hrcnn", "compact", "chroma")
    )
    blocks: int = option(4, "network", "residual blocks")
    hidden_relu: bool = option(True, "network", "hrcnn: ReLUs inside segments; no: literal Eq. 6-7")
    decoder_init: bool = option(True, "network", "hrcnn: start as the plain JPEG decoder")
    width: int = option(48, "network", "compact and chroma: channels")
    kernels: int = option(
        0, "network", "compact and chroma: kernels that the table mixes into each residual one"
    )
    orientations: int = option(
        1,
        "network",
        "compact: 2 reads pictures transposed as well, at twice the cost",
        choices=(1, 2),
    )
    luma: str = option("small", "network", "chroma: the network or run that restores luma for it")
    dtype: str = option(
        "float32", "network", "what convolutions compute in", choices=("float32", "bfloat16")
    )

    data: tuple[str, ...] = option(
        (), "data", "training pictures: folders, or tfds:NAME[@DIR], for instance tfds:div2k"
    )
    validation: tuple[str, ...] = option(
        (),
        "data",
        "validation pictures; default: a tenth of data, and another tenth is left for testing",
    )
    planes: str = option(
        "green",
        "data",
        "what is trained on: the green channel (the paper), luma, each of R, G and B, or any of "
        "R, G, B, Y, Cb, Cr with chroma at full and half size; colour: all at once, for chroma",
        choices=("green", "luma", "rgb", "any", "colour"),
    )
    crops: int = option(20_000, "data", "training crops to cut")
    validation_crops: int = option(200, "data", "validation crops to cut")
    crop: int = option(128, "data", "side of the stored crops in pixels")
    patch: int = option(64, "data", "side of the random part of a crop that a step sees")
    scales: tuple[float, ...] = option((1.0,), "data", "pictures are resized by each of these")
    placement: str = option(
        "auto",
        "data",
        "where crops live: on the device, on disk behind a loader, or whichever fits",
        choices=("auto", "device", "host"),
    )

    quality: tuple[int, ...] = option((10,), "codes", "JPEG quality: one, or lowest and highest")
    tables: str = option(
        "luminance",
        "codes",
        "Annex K luminance, or any: chrominance and non-standard tables too",
        choices=("luminance", "any"),
    )

    batch: int = option(16, "optimisation", "patches in a step, over all devices")
    loss: str = option("mse", "optimisation", "mse, charbonnier, ssim, or package.module:function")
    balance: bool = option(
        False, "optimisation", "divide each patch's loss by the mean step of its table"
    )
    optimiser: str = option(
        "sgd",
        "optimisation",
        "SGD with momentum, Adam or Muon",
        choices=("sgd", "adam", "muon"),
    )
    learning_rate: float = option(0.01, "optimisation", "peak learning rate")
    momentum: float = option(0.9, "optimisation", "of SGD")
    warmup: int = option(500, "optimisation", "steps of linear warm-up, then cosine to zero")
    clip: float = option(1.0, "optimisation", "largest global gradient norm; 0: no clipping")
    ema: float = option(0.999, "optimisation", "decay of the averaged parameters; 0: none")

    @property
    def network_options(self) -> dict[str, Any]:
        """The options of this configuration's architecture."""
        if self.architecture == "hrcnn":
            return {
                "quality": self.quality[0],
                "blocks": self.blocks,
                "hidden_relu": self.hidden_relu,
                "decoder_init": self.decoder_init,
            }
        options = {"width": self.width, "blocks": self.blocks, "kernels": self.kernels}
        if self.architecture == "compact":
            options["orientations"] = self.orientations
        return options

    def check(self) -> None:
        """Raises ValueError, saying what to change, if the values do not fit together."""
        if not self.data:
            raise ValueError("no training pictures: give --data FOLDER or --data tfds:div2k")
        if not 1 <= len(self.quality) <= 2 or not all(1 <= q <= 100 for q in self.quality):
            raise ValueError(f"--quality takes one or two values from 1 to 100, got {self.quality}")
        if self.quality[0] > self.quality[-1]:
            raise ValueError(f"--quality takes the lowest first, got {self.quality}")
        if self.architecture == "hrcnn" and len(self.quality) > 1:
            raise ValueError("hrcnn is trained for one quality: give --quality one value")
        if self.patch % 8 or self.patch > self.crop:
            raise ValueError(
                f"--patch {self.patch} must be a multiple of 8 and at most --crop {self.crop}"
            )
        if (self.planes == "colour") != (self.architecture == "chroma"):
            raise ValueError("--planes colour and --architecture chroma go together: give both")
        if self.planes == "colour" and self.patch % 16:
            raise ValueError(f"--patch {self.patch} must be a multiple of 16 for 4:2:0 colour")
        if self.planes == "any" and self.crop < 2 * self.patch:
            raise ValueError("--planes any halves chroma: --crop must be at least twice --patch")
        counts = ("steps", "log_every", "eval_every", "save_every", "batch")
        for name in (*counts, "crops", "validation_crops", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")


def paper() -> dict[str, Any]:
    """The paper's data: 125,000 training crops of 128x128 from DIV2K, green channel, SGD.

    Command: ``python train.py --preset paper --quality 10 --workdir runs/paper``. Never run in
    full by us: DIV2K was not at hand.
    """
    return {
        "data": ("tfds:div2k",),
        "crops": 125_000,
        "crop": 128,
        "patch": 128,
        "batch": 64,
    }


def hrcnn() -> dict[str, Any]:
    """The paper's network on a CPU: the released ``hrcnn-q10``, ``-q30`` and ``-q50``.

    Command: ``python train.py --preset hrcnn --quality 10 --data PICTURES --workdir runs/q10``,
    and for 30 and 50 the same with ``--warm_start runs/q10``. It takes 75 minutes of one CPU core
    (EPYC). Expect +1.26 / +1.29 / +1.30 dB on LIVE1, green, of the released ones, which had more:
    RESULTS.md tells what.
    """
    return {
        "steps": 3600,
        "eval_every": 200,
        "save_every": 200,
        "planes": "rgb",
        "crops": 12_000,
        "validation_crops": 100,
        "patch": 64,
        "scales": (1.0, 0.7),
        "batch": 8,
        "optimiser": "muon",
        "learning_rate": 1e-3,
        "warmup": 50,
    }


def hrcnn_gpu() -> dict[str, Any]:
    """The same on one GPU, for as long as the paper trained; written down, not yet run.

    Command: ``python train.py --preset hrcnn_gpu --quality 10 --warm_start hrcnn-q10 --data
    PICTURES --workdir runs/q10``, and so for 30 and 50.
    """
    return {
        **hrcnn(),
        "steps": 100_000,
        "eval_every": 2000,
        "save_every": 1000,
        "crops": 40_000,
        "crop": 192,
        "patch": 128,
        "batch": 32,
        "warmup": 500,
        "dtype": "bfloat16",
    }


def small() -> dict[str, Any]:
    """The released ``small``: one compact network for every table.

    Command: ``python train.py --preset small --data PICTURES --workdir runs/small``. It takes 75
    minutes of one CPU core (EPYC). Expect +1.39 / +1.40 / +1.40 dB on LIVE1, green, at quality
    10 / 30 / 50 of the released one, which began from an earlier release of 11,500 steps, 80 wide:
    the channels that mattered least taken out, those that never passed their ReLU drawn anew.
    """
    return {
        "steps": 7_500,
        "eval_every": 500,
        "save_every": 250,
        "architecture": "compact",
        "blocks": 2,
        "width": 64,
        "kernels": 4,
        "orientations": 2,
        "planes": "any",
        "crops": 12_000,
        "validation_crops": 100,
        "crop": 192,
        "patch": 96,
        "quality": (5, 100),
        "tables": "any",
        "balance": True,
        "optimiser": "muon",
        "learning_rate": 1.5e-3,
        "warmup": 100,
    }


def large() -> dict[str, Any]:
    """The released ``large``: the same, larger.

    Command: ``python train.py --preset large --warm_start small --data PICTURES --workdir
    runs/large``: it begins with what ``small`` does, and grows. It takes 75 minutes of one CPU core
    (EPYC). Expect +1.44 / +1.46 / +1.47 dB on LIVE1, green, at quality 10 / 30 / 50 of the released
    one, which went on from there for 11,000 steps at a learning rate of 7e-4.
    """
    return {
        **small(),
        "steps": 3_400,
        "eval_every": 450,
        "save_every": 100,
        "blocks": 3,
        "width": 128,
        "batch": 8,
        "learning_rate": 1e-3,
    }


def chroma() -> dict[str, Any]:
    """The released ``chroma``: 4:2:0 chroma at full size, beside luma that ``small`` restores.

    Command: ``python train.py --preset chroma --data PICTURES --workdir runs/chroma``, here with
    ``--warm_start`` from an earlier release of 28,000 steps, idle channels drawn anew. It takes an
    hour of one CPU core (EPYC). Expect +1.55 / +1.41 / +1.38 / +1.33 dB over RGB on LIVE1, 4:2:0,
    at quality 10 / 20 / 30 / 40, of the released one, which went on for 18,000 steps at 7e-4.
    """
    return {
        **small(),
        "steps": 9_500,
        "eval_every": 1000,
        "architecture": "chroma",
        "width": 64,
        "planes": "colour",
        "crop": 144,
        "patch": 128,
        # Most photographs at hand are 4:2:0 themselves: only made smaller do they have chroma
        # detail to learn.
        "scales": (0.5, 0.7),
        "batch": 8,
        "learning_rate": 1e-3,
    }


PRESETS = {preset.__name__: preset for preset in (paper, hrcnn, hrcnn_gpu, small, large, chroma)}
"""Named starting points; flags given beside a preset win. Each docstring gives the command, the
hardware, the time it took and the score to expect."""


def from_preset(name: str | None, **overrides: Any) -> Config:
    """A configuration: the defaults, then the preset, then the overrides.

    Raises:
      ValueError: if there is no such preset.
    """
    if name is not None and name not in PRESETS:
        raise ValueError(f"no preset {name!r}: choose from {', '.join(PRESETS)}")
    values: dict[str, Any] = {**(PRESETS[name]() if name else {}), **overrides}
    return Config(**values)


def to_dict(config: Config) -> dict[str, Any]:
    """A JSON-friendly copy."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(config).items()}


def from_dict(values: dict[str, Any]) -> Config:
    """Inverse of :func:`to_dict`."""
    kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Config(**kept)
