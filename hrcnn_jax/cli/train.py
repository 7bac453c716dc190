"""`train`: trains a network; `python train.py` is the same command.

  hrcnn-jax train --preset hrcnn --data PICTURES --workdir runs/q10

Run it again with the same flags and it goes on from its latest checkpoint.
"""

import argparse
import dataclasses
import inspect
import shutil
import signal
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import jax
import tyro

from hrcnn_jax.cli.common import FAILED, complain
from hrcnn_jax.networks import registry
from hrcnn_jax.networks.base import Architecture
from hrcnn_jax.restoration.compilation import keep_programs
from hrcnn_jax.training.loop import DivergedError, fit
from hrcnn_jax.training.presets import PRESETS, from_preset
from hrcnn_jax.training.settings import SECTIONS, Settings, arg, flags_of

HELP = "train a network that restores JPEG pictures from their codes"


@dataclass(frozen=True)
class Hosts:
    """Many processes that train together."""

    distributed: bool = False
    """Join the other processes (jax.distributed); found by itself on SLURM and TPU pods."""

    coordinator: Annotated[str | None, arg(metavar="HOST:PORT")] = None
    """Where process 0 listens."""

    processes: Annotated[int | None, arg(metavar="N")] = None
    """How many processes there are."""

    process: Annotated[int | None, arg(metavar="N")] = None
    """Which one this is, from 0."""


def parse(argv: Sequence[str]) -> tuple[Settings, Hosts]:
    """Flags to settings: one flag a field, and one an option of the architecture.

    Presets and architectures decide which flags there are, and so are looked for first.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset")
    first.add_argument("--architecture")
    given, rest = first.parse_known_args(argv)
    try:
        start = from_preset(given.preset)
        name = given.architecture or start.architecture
        architecture = registry.get(name)
    except ValueError as error:
        print(f"hrcnn-jax train: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    if name != start.architecture:
        known = flags_of(architecture).keys()
        start = dataclasses.replace(
            start,
            architecture=name,
            network={option: v for option, v in start.network.items() if option in known},
        )
    found: Any = tyro.cli(
        _flags(architecture, start),
        prog="hrcnn-jax train",
        description=_description(),
        args=rest,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    sections = {section: getattr(found, section) for section in SECTIONS}
    return Settings(name, vars(found.network), **sections), found.hosts


def _flags(architecture: Architecture, start: Settings) -> Any:
    """A dataclass of all there is to ask for, with the preset's values as defaults."""
    options = flags_of(architecture) | dict(start.network)
    types = get_type_hints(architecture.module)
    told = _attributes(architecture.module)
    network = dataclasses.make_dataclass(
        "Network",
        [
            (
                name,
                Annotated[types[name], arg(help=told.get(name))],
                dataclasses.field(default=value),
            )
            for name, value in options.items()
        ],
        namespace={"__doc__": f"Options of the architecture {start.architecture}."},
        frozen=True,
    )
    sections = [
        ("network", network, dataclasses.field(default=network(**options))),
        *(
            (name, kind, dataclasses.field(default=getattr(start, name)))
            for name, kind in SECTIONS.items()
        ),
        ("hosts", Hosts, dataclasses.field(default=Hosts())),
    ]
    return dataclasses.make_dataclass("Train", sections, frozen=True)


def _attributes(kind: type) -> dict[str, str]:
    """What a class's docstring says of its attributes."""
    lines = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2].splitlines()
    told: dict[str, str] = {}
    name = ""
    for line in lines:
        if line.startswith("    ") and name:
            told[name] += f" {line.strip()}"
        elif line.startswith("  "):
            name, _, text = line.strip().partition(":")
            told[name] = text.strip()
        else:
            break
    return {name: text.strip()[:1].upper() + text.strip()[1:] for name, text in told.items()}


def _description() -> str:
    """What the command does, and the presets."""
    entries = [
        "With --preset NAME it starts from one of the recipes below. Flags given beside it win, "
        "and --help beside it shows its values.",
        "With --architecture NAME it trains another network, "
        f"{', '.join(registry.ARCHITECTURES)} or package.module:NAME, with options of its own.",
        *(f"{name}: {' '.join(preset.about.split())}" for name, preset in PRESETS.items()),
    ]
    width = min(shutil.get_terminal_size().columns, 100) - 2
    return "\n\n".join(
        [
            f"{HELP[0].upper()}{HELP[1:]}.",
            "Run again with the same flags, it goes on from its latest checkpoint.",
            # tyro joins lines but those that are indented.
            *(textwrap.fill(each, width, subsequent_indent="    ") for each in entries),
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    settings, hosts = parse(sys.argv[1:] if argv is None else argv)
    keep_programs(all_of_jax=True)
    try:
        if hosts.distributed or hosts.coordinator:
            jax.distributed.initialize(hosts.coordinator, hosts.processes, hosts.process)
        elif hosts.processes is not None or hosts.process is not None:
            raise ValueError("--processes and --process: say where process 0 is by --coordinator")
        ended_by = fit(settings)
    except KeyboardInterrupt:
        complain("interrupted")
        return 128 + signal.SIGINT
    except (ValueError, DivergedError, OSError) as error:
        complain(error)
        return FAILED
    if ended_by:
        complain(f"interrupted; run again to go on from {settings.run.workdir}")
        return 128 + ended_by
    return 0
