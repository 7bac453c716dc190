"""`fleet`: whole collections, on all cores of a machine or all machines of a cluster."""

import argparse
import dataclasses
import socket
import sys
import time
from typing import Any

import jax
import ray
from tqdm import tqdm

from hrcnn_jax.cli.common import (
    FAILED,
    UsageError,
    add_format,
    add_max_pixels,
    add_network,
    add_salvage,
    check_quality,
    complain,
)
from hrcnn_jax.files.writer import QUALITY
from hrcnn_jax.fleet import job, manifest
from hrcnn_jax.fleet.stores import SCHEMES, StoreError, open_store
from hrcnn_jax.fleet.treatments import Inspection, Restoration, Treatment
from hrcnn_jax.fleet.worker import Orders
from hrcnn_jax.networks import cards, zoo
from hrcnn_jax.scores.account import hash_of

PATIENCE = 10.0
"""Seconds in which a cluster has to answer."""

TOLD = 20
"""Files whose failure is told in a line of its own; the manifest tells all."""


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    where = f"a folder, or {', '.join(f'{scheme}://' for scheme in SCHEMES)}..."
    flags.add_argument("source", metavar="SOURCE", help=f"where the pictures are: {where}")
    flags.add_argument(
        "target", metavar="TARGET", help="where pictures and the manifest go: the same kinds"
    )
    flags.add_argument(
        "--inspect", action="store_true", help="write the manifest only, and no pictures"
    )
    flags.add_argument(
        "--retry-failed", action="store_true", help="also do what failed in earlier runs"
    )
    flags.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that restore (default: one a GPU, or where there is none, one a core)",
    )
    flags.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a Ray cluster, auto for the one that this machine is in (default: this machine)",
    )
    add_format(flags)
    add_network(flags)
    add_max_pixels(flags)
    add_salvage(flags)


def run(flags: argparse.Namespace) -> int:
    """Does what is left to be done; the status is 1 if the run could not be finished."""
    if flags.workers is not None and flags.workers < 1:
        raise UsageError(f"--workers must be 1 or more, got {flags.workers}")
    if not (flags.source and flags.target):
        raise UsageError("SOURCE or TARGET is empty: give a folder, or a prefix of a bucket")
    check_quality(flags)
    jax.config.update("jax_platforms", "cpu")  # devices are for the workers
    treatment, settings = _treatment(flags)
    try:
        return _run(flags, treatment, settings)
    except StoreError as error:
        complain(error)
        return FAILED
    except manifest.MixedError as error:
        raise UsageError(str(error)) from error
    finally:
        ray.shutdown()


def _treatment(flags: argparse.Namespace) -> tuple[Treatment, dict[str, Any]]:
    """What becomes of files, and the settings that this depends on."""
    name, weights = zoo.find(flags.model)
    if flags.inspect:
        return Inspection(cards.of_weights(weights)), {"format": "none", "network": name}
    treatment = Restoration(
        flags.model,
        hash_of(flags.model),
        flags.pixels,
        None if flags.pixels is None else hash_of(flags.pixels),
        strength=flags.strength,
        faithful=flags.faithful,
        history=flags.history,
        format=flags.format or "png",
        quality=flags.quality if flags.format in ("jpeg", "webp") else QUALITY,
    )
    treatment.prepare()  # what makes no sense is told before anything begins
    settings = dataclasses.asdict(treatment)
    del settings["model"], settings["pixels"]  # their hashes tell them, wherever they lie
    return treatment, {"network": name, **settings}


def _run(flags: argparse.Namespace, treatment: Treatment, settings: dict[str, Any]) -> int:
    source, target = open_store(flags.source), open_store(flags.target)
    found = job.find(source, target, treatment.suffix)
    settings = {"source": source.url, **settings}
    # A cluster that cannot be joined is no reason to end a run that holds the target.
    workers = 0 if flags.address is None else _start(flags)
    orders = Orders(manifest.begin_run(target, settings), flags.max_pixels, flags.salvage)
    plan = job.plan(found, target, retry_failed=flags.retry_failed)
    total, failed, pixels, start = len(plan.tasks) + plan.done, 0, 0, time.monotonic()
    if plan.tasks:
        workers = workers or _start(flags)
        batches = job.run(source, target, plan.tasks, treatment, orders, workers=workers)
        with tqdm(
            total=total, initial=plan.done, unit="file", file=sys.stderr, disable=None
        ) as bar:
            for rows in batches:
                for row in rows:
                    pixels += (row["width"] or 0) * (row["height"] or 0)
                    if row["error"] is not None:
                        failed += 1
                        if failed <= TOLD:
                            complain(f"{row['path']}: {row['error']}")
                bar.update(len(rows))
    seconds = max(time.monotonic() - start, 1e-3)
    before = f"{plan.done} were done before"
    if plan.failed:
        before += f", {plan.failed} of which had failed (--retry-failed does them again)"
    done = "inspected" if flags.inspect else "restored"
    complain(
        f"{len(plan.tasks) - failed} of {total} files {done}, {failed} failed, {before}: "
        f"{len(plan.tasks) / seconds:.2f} files/s, {pixels / 1e6 / seconds:.2f} MP/s; "
        f"the manifest is {target.url}/{manifest.FOLDER}"
    )
    return 0


def _start(flags: argparse.Namespace) -> int:
    try:
        _reach(flags.address)
        return job.start(address=flags.address, workers=flags.workers)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if flags.address is None:
            raise StoreError(f"Ray cannot start on this machine ({reason})") from error
        raise StoreError(
            f"--address {flags.address}: no Ray cluster can be joined ({reason}); check it, and "
            "set RAY_AUTH_MODE=token if the cluster asks for one"
        ) from error


def _reach(address: str | None) -> None:
    """Raises OSError at once where nobody listens, for whom Ray would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if port.isdecimal() and not host.endswith("/") and "://" not in host:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
