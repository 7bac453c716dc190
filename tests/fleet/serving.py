"""An object store on the loopback, a tiny network, and pictures for it."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import jpeg_bytes, made_card, make_photo, random_params
from moto.server import ThreadedMotoServer

from hrcnn_jax.networks import registry, zoo

TINY = {"width": 4, "blocks": 1, "kernels": 1, "orientations": 2}


def tiny_network(folder: Path) -> str:
    """A weights file of a network that is compiled quickly."""
    path = folder / "tiny.safetensors"
    module = registry.get("compact").build(TINY)
    zoo.write_weights(path, random_params(module, scale=0.01), made_card("compact", TINY))
    return str(path)


def gray_jpeg(seed: int) -> bytes:
    """A little gray picture."""
    return jpeg_bytes(make_photo(24, 32, seed=seed)[..., 1], quality=10 + seed % 80)


@contextmanager
def served_bucket() -> Iterator[tuple[str, dict[str, str]]]:
    """The address of an empty bucket, and the environment that leads to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/pictures", method="PUT")).close()
    try:
        yield (
            "s3://pictures",
            {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": "nobody",
                "AWS_SECRET_ACCESS_KEY": "nothing",
                "AWS_REGION": "us-east-1",
            },
        )
    finally:
        server.stop()
