"""What is asked about a network's architecture, answered by one object.

Training, evaluation, restoration and release know an `Architecture` and the Flax modules
that it builds; none of them knows one by name. A new network is a Flax module, and an entry in
`hrcnn_jax.networks.registry`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from numpy.typing import NDArray

from hrcnn_jax.jpeg import tables, transform
from hrcnn_jax.networks import cost, growth
from hrcnn_jax.networks.cards import Kind

_FLAXS_OWN = ("parent", "name", "dtype")

_BOUNDS = {
    "width": (1, 4096),
    "blocks": (0, 1024),
    "kernels": (0, 1024),
    "orientations": (1, 2),
    "traits": (1, 4096),
}
"""Of options that are whole numbers, whatever network has them."""


@dataclass(frozen=True)
class Architecture:
    """A kind of network: a Flax module class, and all that others have to know about it.

    A module of kind `planes` is called as `module.apply({"params": params}, codes, table)`:
    codes `(B, H, W, 1)` and tables `(B, 8, 8)` in, pixels `(B, H, W, 1)` out. One of kind
    `chroma` is called as `hrcnn_jax.networks.chroma.Chroma` is, one of kind `pictures` as
    `hrcnn_jax.networks.wild.Wild`. Its property `halo`
    says how many blocks on every side a block's pixels depend on; called with `inside=True` it
    leaves as many blocks out of the result, and need not compute what only those would need.

    Attributes:
      module: the Flax module class; its fields are the options, `dtype` is what it computes in.
      kind: whether it restores single planes of codes, 4:2:0 chroma beside restored luma, or pixels
        of whole pictures.
      is_faithful: whether its result quantises to the codes it was made from, whatever the
        parameters. Others are projected onto them.
      serves_one_quality: whether a network serves the luminance table of one quality only, the one
        that its option `quality` names; any other serves every table.
      sums_in_float32: whether in bfloat16 only factors are rounded, while sums and all between them
        stay float32: what differs is too little to be seen.
      trains_singly: whether a training step on a CPU computes a batch's pictures one after another,
        so that what is kept of one stays in the cache. Not for networks of convolutions: XLA's CPU
        back end computes these well outside loops only.
      stages: names under which the module sows what each of its segments hands on, in order;
        those of the paper's network are drawn (`evaluate --figures`).
    """

    module: type[nn.Module]
    kind: Kind = "planes"
    is_faithful: bool = False
    serves_one_quality: bool = False
    sums_in_float32: bool = False
    trains_singly: bool = False
    stages: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The options and their defaults."""
        fields = dataclasses.fields(self.module)
        return {field.name: field.default for field in fields if field.name not in _FLAXS_OWN}

    def build(self, options: Mapping[str, Any] | None = None, *, dtype: str = "float32") -> Any:
        """Makes the Flax module.

        Args:
          options: values for some of `options`.
          dtype: what convolutions compute in, `float32` or `bfloat16`; or only what they multiply,
            if the architecture `sums_in_float32`.

        Raises:
          ValueError: for an unknown option, or a number that makes no sense.
        """
        options = dict(options or {})
        unknown = options.keys() - self.options.keys()
        if unknown:
            raise ValueError(
                f"{self.module.__name__} has no option {', '.join(sorted(unknown))}: it has "
                f"{', '.join(self.options)}"
            )
        counted = {name for name, default in self.options.items() if type(default) is int}
        for name in counted & options.keys() & _BOUNDS.keys():
            value, (least, most) = options[name], _BOUNDS[name]
            if not (isinstance(value, int) and least <= value <= most):
                raise ValueError(f"--{name} must be from {least} to {most}, got {value!r}")
        return self.module(**options, dtype=jnp.dtype(dtype))

    def inputs(self, side: int) -> tuple[Array, ...]:
        """Blank inputs of the shapes that a module takes for one picture of side by side pixels."""
        return jnp.zeros((1, side, side, 1)), jnp.ones((1, 8, 8))

    def init(self, module: nn.Module, key: Array) -> dict[str, Any]:
        """Fresh parameters of a module, a nested dict of float32 arrays."""
        return jax.jit(module.init)(key, *self.inputs(32))["params"]

    def quality(self, options: Mapping[str, Any]) -> int | None:
        """The only quality that a network with these options serves; None if it serves any."""
        return options["quality"] if self.serves_one_quality else None

    def table(self, options: Mapping[str, Any]) -> NDArray[Any] | None:
        """The only table `(8, 8)` that a network with these options serves; None if any."""
        quality = self.quality(options)
        return None if quality is None else tables.quality_table(quality)

    def fold(self, module: nn.Module, params: Any) -> tuple[Any, Any]:
        """The same function with fewer multiply-adds: a module and its parameters."""
        return module, params

    def grow(self, params: Any, fresh: Any) -> Any:
        """Parameters of a larger network that begins as a smaller one.

        Args:
          params: the smaller network's.
          fresh: the larger one's fresh ones.

        Raises:
          ValueError: if the one does not fit into the other.
        """
        return growth.grow(params, fresh)

    def retarget(self, params: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
        """Parameters trained under some options, made to begin with under others.

        Args:
          params: the trained ones.
          old: the options they were trained under.
          new: the options they are to be trained under.
        """
        del old, new
        return params

    def multiply_adds(self, module: nn.Module, *, side: int = 256) -> int:
        """Multiply-adds a pixel, read off the program of a picture of side by side pixels."""
        params = jax.eval_shape(lambda: self.init(module, jax.random.key(0)))
        program = jax.make_jaxpr(lambda p: module.apply({"params": p}, *self.inputs(side)))(params)
        return round(cost.multiply_adds(program) / side**2)

    def direct_multiply_adds(self, module: nn.Module) -> int:
        """Multiply-adds a pixel if every convolution were computed tap by tap.

        That is how networks are compared, whatever products an algorithm spares.
        """
        return self.multiply_adds(module)


def restore(module: Any, params: Any, codes: Array, table: Array, *, inside: bool = False) -> Array:
    """Applies a network of planes to blocks of codes.

    Args:
      module: of an architecture of kind `planes`.
      params: its parameters.
      codes: `(B, hb, wb, 8, 8)`, as files hold them.
      table: `(B, 8, 8)` quantisation steps.
      inside: leave out `module.halo` blocks on every side.

    Returns:
      Pixels `(B, 8*hb, 8*wb)` float32; of the blocks inside, if so asked.
    """
    planes = transform.from_blocks(codes)[..., None]
    pixels: Any = module.apply({"params": params}, planes, table, inside=inside)
    return pixels[..., 0]
