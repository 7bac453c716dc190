"""Recipes by name: each says how it is run, on what, for how long, and what score to expect."""

from dataclasses import dataclass, replace

from hrcnn_jax.training.settings import Settings


@dataclass(frozen=True)
class Preset:
    """A named starting point; what is given beside it wins.

    Attributes:
      about: what it makes, the command, the hardware, the time and the score to expect.
      settings: what it says.
    """

    about: str
    settings: Settings


_PAPER = Settings().changed(pictures=("tfds:div2k",), crops=125_000, crop=128, patch=128, batch=64)

_HRCNN = Settings().changed(
    steps=3600,
    eval_every=200,
    save_every=200,
    planes="rgb",
    crops=12_000,
    validation_crops=100,
    patch=64,
    scales=(1.0, 0.7),
    batch=8,
    optimiser="muon",
    learning_rate=1e-3,
    warmup=50,
    # Spares the noise of originals; costs half a step more on a CPU, where `small` serves as well.
    teacher=("large",),
    teacher_share=(1.0,),
)

_HRCNN_GPU = _HRCNN.changed(
    steps=100_000,
    eval_every=2000,
    save_every=1000,
    crops=40_000,
    crop=192,
    patch=128,
    batch=32,
    warmup=500,
    dtype="bfloat16",
    teacher_share=(1.0, 0.0),
)

# Coefficients of 8-bit samples are at most 1024: beyond twice that no step leaves anything of them.
_COARSEST = 2048

_SMALL = Settings().changed(
    steps=7_500,
    eval_every=500,
    save_every=250,
    architecture="compact",
    blocks=2,
    width=64,
    kernels=4,
    orientations=2,
    largest_step=_COARSEST,
    planes="any",
    crops=12_000,
    validation_crops=100,
    crop=192,
    patch=96,
    quality=(5, 100),
    tables="any",
    balance=True,
    optimiser="muon",
    learning_rate=1.5e-3,
    warmup=100,
)

_FAST = _SMALL.changed(
    steps=78_000,
    eval_every=2000,
    save_every=500,
    width=32,
    # Mixed once for a table, they cost nothing a pixel.
    kernels=16,
    orientations=1,
    pointwise=True,
    crops=20_000,
    batch=16,
)

_LARGE = _SMALL.changed(
    steps=2_500,
    eval_every=600,
    save_every=100,
    blocks=7,
    width=128,
    crops=8_000,
    # Of smaller patches it would see too little: it reads 64 pixels around each.
    crop=320,
    patch=160,
    batch=8,
    learning_rate=6e-4,
    warmup=50,
    dtype="bfloat16",
)

_CHROMA = replace(
    _SMALL,
    architecture="chroma",
    network={"width": 64, "blocks": 2, "kernels": 4, "largest_step": _COARSEST},
).changed(
    steps=16_700,
    eval_every=1000,
    planes="colour",
    crop=144,
    patch=128,
    # Photographs that were 4:2:0 themselves have chroma detail to learn only when made smaller.
    scales=(1.0, 0.7, 0.5),
    batch=8,
    learning_rate=1e-3,
)

# Of a step of 8 patches the update by Muon would be a third.
_CHROMA_LARGE = _CHROMA.changed(
    steps=9_000,
    width=128,
    blocks=4,
    orientations=2,
    crops=14_000,
    batch=16,
    dtype="bfloat16",
)

# Beside `fast` it has to be as quick.
_CHROMA_FAST = _CHROMA.changed(
    steps=60_000,
    blocks=1,
    kernels=8,
    pointwise=True,
    luma="fast",
    crops=14_000,
    learning_rate=1.2e-3,
    warmup=300,
)

_WILD = replace(
    _SMALL, architecture="wild", network={"width": 128, "blocks": 5, "kernels": 8}
).changed(
    steps=2_700,
    save_every=150,
    eval_every=600,
    planes="damaged",
    validation_crops=200,
    # The estimate is made from all of a crop, and needs many of them at once.
    crop=160,
    patch=144,
    scales=(1.0, 0.7),
    quality=(5, 98),
    batch=16,
    learning_rate=8e-4,
)

PRESETS = {
    "paper": Preset(
        """The paper's data: 125,000 training crops of 128x128 from DIV2K, green channel, SGD.

        Command: python train.py --preset paper --quality 10 --workdir runs/paper. Never run in full
        by us: DIV2K was not at hand.""",
        _PAPER,
    ),
    "hrcnn": Preset(
        """The paper's network on a CPU: the released hrcnn-q10, -q30 and -q50.

        Command: python train.py --preset hrcnn --quality 10 --data PICTURES --workdir runs/q10, and
        for 30 and 50 the same with --warm-start runs/q10. It takes 75 minutes of one CPU core
        (EPYC). Expect +1.31 / +1.30 / +1.30 dB on LIVE1, green, of the released ones, which had
        more: RESULTS.md tells what.""",
        _HRCNN,
    ),
    "hrcnn-gpu": Preset(
        """The same on one GPU, for as long as the paper trained; written down, not yet run.

        Command: python train.py --preset hrcnn-gpu --quality 10 --warm-start hrcnn-q10 --data
        PICTURES --workdir runs/q10, and so for 30 and 50.""",
        _HRCNN_GPU,
    ),
    "small": Preset(
        """The released small: one compact network for every table.

        Command: python train.py --preset small --data PICTURES --workdir runs/small, at last with
        --warm-start small --dtype bfloat16 --learning-rate 1e-3 --crops 20000 --minutes 80 from an
        earlier release, of one CPU core (EPYC): 17,533 steps. Expect +1.44 / +1.47 / +1.48 dB on
        LIVE1, green, at quality 10 / 30 / 50.""",
        _SMALL,
    ),
    "fast": Preset(
        """The released fast: one compact network for every table, at a seventh of small's cost.

        Command: python train.py --preset fast --data PICTURES --workdir runs/fast, which takes 80
        minutes of one CPU core (EPYC). The released one went on from earlier ones, with
        --warm-start fast, for some hours (docs/compact.md). Expect +1.20 / +1.16 / +1.17 dB on
        LIVE1, green, at quality 10 / 30 / 50.""",
        _FAST,
    ),
    "large": Preset(
        """The released large: the same, larger, from pictures of 320 pixels a side at least.

        Command: python train.py --preset large --warm-start small --data PICTURES --workdir
        runs/large: it begins with what small does, and grows. The released one had grown to three
        blocks, to five and to seven before (docs/compact.md); its last run, with idle channels
        begun anew and --learning-rate 5e-4, took 86 minutes of one CPU core (Xeon). Expect +1.50 /
        +1.54 / +1.54 dB on LIVE1, green, at quality 10 / 30 / 50.""",
        _LARGE,
    ),
    "chroma": Preset(
        """The released chroma: 4:2:0 chroma at full size, beside luma that small restores.

        Command: python train.py --preset chroma --data PICTURES --workdir runs/chroma, here with
        --warm-start from an earlier release, --crops 14000, and pictures that never were JPEG
        files. It takes an hour of one CPU core (EPYC). Expect +1.59 / +1.45 / +1.43 / +1.38 dB over
        RGB on LIVE1, 4:2:0, at quality 10 / 20 / 30 / 40, of the released one.""",
        _CHROMA,
    ),
    "chroma-large": Preset(
        """The released chroma-large: the same, larger, beside luma that large restores.

        Command: python train.py --preset chroma-large --warm-start chroma --data PICTURES --workdir
        runs/chroma-large: it begins with what chroma does, and grows. The released one had done so
        before (docs/compact.md); its last run, with --learning-rate 6e-4, took 85 minutes of two
        CPU cores (EPYC). Expect +1.71 / +1.57 / +1.54 / +1.50 dB over RGB on LIVE1, 4:2:0, at
        quality 10 / 20 / 30 / 40.""",
        _CHROMA_LARGE,
    ),
    "chroma-fast": Preset(
        """The released chroma-fast: the same with one block, beside luma that fast restores.

        Command: python train.py --preset chroma-fast --data PICTURES --workdir runs/chroma-fast; it
        takes two hours of one CPU core (EPYC), and wants pictures that never were JPEG files.
        Expect +1.33 / +1.19 / +1.16 / +1.13 dB over RGB on LIVE1, 4:2:0, at quality 10 / 20 / 30 /
        40.""",
        _CHROMA_FAST,
    ),
    "wild": Preset(
        """The released wild: one network of pictures for any history, pixels in, pixels out.

        Command: python train.py --preset wild --warm-start small --dtype bfloat16 --crops 16000
        --data PICTURES --workdir runs/wild: it begins with what small does to luma, and wants
        pictures that never were JPEG files. It takes 100 minutes of one CPU core (EPYC). The
        released one had fourteen hours, at last by --warm-start wild --frozen estimator --batch 32
        --learning-rate 2.5e-4 --crops 20000 --minutes 105 (docs/wild.md). Expect +1.28 dB on LIVE1,
        luma, at quality 10, +1.12 dB on 20,x0.75,85 and +1.28 dB on 30,+4:4,30 of it.""",
        _WILD,
    ),
}


def from_preset(name: str | None) -> Settings:
    """The settings of a preset, or the defaults.

    Raises:
      ValueError: if there is no such preset.
    """
    if name is None:
        return Settings()
    name = name.replace("_", "-")
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}: choose from {', '.join(PRESETS)}")
    return PRESETS[name].settings
