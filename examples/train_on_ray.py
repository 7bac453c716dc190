"""Trains one network with several processes of a Ray cluster, each on a host of its own or not.

python examples/train_on_ray.py --processes 4 --gpus 1 --address auto -- \
    --preset small --data PICTURES --workdir RUN --parallel sharded

What follows `--` are the flags of `train.py`. Without `--address`, Ray is started on this machine.
Every process reads the same PICTURES and writes to the same RUN, so these have to lie on a file
system that all hosts see. Run it again and it goes on from the latest checkpoint.
"""

import argparse
import os
import socket
from typing import Any

import ray

from hrcnn_jax.cli import train


class Process:
    """One of the processes that train together."""

    def address(self) -> str:
        """Where the others find it: this host, and a port that is free."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def train(self, flags: list[str]) -> int:
        """Trains; the exit status of the command."""
        return train.main(flags)


def main() -> int:
    """Has Ray start the processes, tells them of one another, and waits for them."""
    parser = argparse.ArgumentParser(description="Train on a Ray cluster.")
    parser.add_argument("--address", help="of the cluster; auto for the one this host is in")
    parser.add_argument("--processes", type=int, required=True, help="that train together")
    parser.add_argument("--gpus", type=float, default=0, help="that each process gets")
    parser.add_argument("flags", nargs="+", help="of train.py, after --")
    asked = parser.parse_args()

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(asked.address or "local", include_dashboard=False)
    # Spread: as many hosts as there are take part. Without GPUs, JAX's processes talk by gloo.
    hosted: Any = ray.remote(Process).options(
        num_cpus=1,
        num_gpus=asked.gpus,
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}},
    )
    processes = [hosted.remote() for _ in range(asked.processes)]
    coordinator = ray.get(processes[0].address.remote())
    together = ["--coordinator", coordinator, "--processes", str(asked.processes)]
    statuses = ray.get(
        [
            process.train.remote([*asked.flags, *together, "--process", str(number)])
            for number, process in enumerate(processes)
        ]
    )
    return max(statuses)


if __name__ == "__main__":
    raise SystemExit(main())
