"""The architectures by name, and what can be counted about them.

Those of planes are Flax modules called as ``module.apply({"params": params}, codes, table)``:
codes ``(B, H, W, 1)`` and tables ``(B, 8, 8)`` in, pixels ``(B, H, W, 1)`` out. ``chroma`` works
beside one of them (see :mod:`hrcnn_jax.chroma`). All have a property ``context``: how many blocks
on every side a block's pixels depend on. Called with ``inside=True`` they leave as many blocks out
of the result, and do not compute what only those would need.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend import core as jex

from hrcnn_jax import jpeg
from hrcnn_jax.chroma import Chroma
from hrcnn_jax.compact import Compact
from hrcnn_jax.model import HRCNN

ARCHITECTURES: dict[str, type[nn.Module]] = {"hrcnn": HRCNN, "compact": Compact, "chroma": Chroma}


def options_of(architecture: str) -> dict[str, Any]:
    """The options an architecture takes and their defaults; dtype and Flax's own left out.

    Raises:
      ValueError: if there is no such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"no architecture {architecture!r}: choose from {', '.join(ARCHITECTURES)}"
        )
    own = {"parent", "name", "dtype"}
    fields = dataclasses.fields(ARCHITECTURES[architecture])
    return {field.name: field.default for field in fields if field.name not in own}


def build(
    architecture: str, options: Mapping[str, Any] | None = None, *, dtype: str = "float32"
) -> nn.Module:
    """Makes the Flax module of an architecture.

    Args:
      architecture: a key of ``ARCHITECTURES``.
      options: values for some of ``options_of(architecture)``.
      dtype: what convolutions compute in, ``float32`` or ``bfloat16``.

    Raises:
      ValueError: for an unknown architecture or option.
    """
    options = dict(options or {})
    unknown = options.keys() - options_of(architecture).keys()
    if unknown:
        raise ValueError(
            f"architecture {architecture!r} has no option {', '.join(sorted(unknown))}"
        )
    return ARCHITECTURES[architecture](**options, dtype=jnp.dtype(dtype))


def init(module: nn.Module, key: jax.Array) -> dict[str, Any]:
    """Fresh parameters of a module, a nested dict of float32 arrays."""
    return jax.jit(module.init)(key, *inputs_of(module, 32))["params"]


def inputs_of(module: nn.Module, side: int) -> tuple[jax.Array, ...]:
    """Blank inputs of the shapes that a module takes for one picture of side by side pixels."""
    table = jnp.ones((1, 8, 8))
    if isinstance(module, Chroma):
        codes, luma = jnp.zeros((1, side // 2, side // 2, 2)), jnp.zeros((1, side, side))
        return codes, jnp.stack([table, table], axis=1), luma, table
    return jnp.zeros((1, side, side, 1)), table


def restore(
    module: nn.Module,
    params: Any,
    codes: jax.Array,
    table: jax.Array,
    *,
    inside: bool = False,
) -> jax.Array:
    """Applies a network of planes to blocks of codes.

    Args:
      module: an architecture.
      params: its parameters.
      codes: ``(B, hb, wb, 8, 8)``, as files hold them.
      table: ``(B, 8, 8)`` quantisation steps.
      inside: leave out ``module.context`` blocks on every side.

    Returns:
      Pixels ``(B, 8*hb, 8*wb)`` float32; of the blocks inside, if so asked.
    """
    planes = jpeg.from_blocks(codes)[..., None]
    pixels: Any = module.apply({"params": params}, planes, table, inside=inside)
    return pixels[..., 0]


def count_parameters(params: Any) -> int:
    """How many trainable numbers a parameter tree holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def multiply_adds(module: nn.Module, *, side: int = 256) -> int:
    """Multiply-adds a pixel of convolutions and matrix products, read off the traced program.

    What is computed counts: a mirrored convolution (``mirrored.py``) takes 16 products where a
    direct one takes 36.

    Args:
      module: an architecture.
      side: of the traced picture; what is done once a picture (the table) fades with its size.
    """
    params = jax.eval_shape(lambda: init(module, jax.random.key(0)))
    inputs = inputs_of(module, side)
    program = jax.make_jaxpr(lambda p: module.apply({"params": p}, *inputs))(params)
    return round(_count(program.jaxpr) / side**2)


def _count(program: jex.Jaxpr) -> int:
    total = 0
    for equation in program.eqns:
        shapes = [getattr(value.aval, "shape", ()) for value in equation.invars]
        output = math.prod(getattr(equation.outvars[0].aval, "shape", ()))
        if equation.primitive.name == "conv_general_dilated":
            features = equation.params["dimension_numbers"].rhs_spec[0]
            total += output * math.prod(shapes[1]) // shapes[1][features]
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += output * math.prod(shapes[0][axis] for axis in contracted)
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program)
        counts = [_count(_open(program)) for program in inner if _is_program(program)]
        if equation.primitive.name == "cond":  # one branch runs: here, what suits the platform
            total += max(counts)
        else:
            total += sum(counts) * equation.params.get("length", 1)  # a scan's
    return total


def _open(program: jex.Jaxpr | jex.ClosedJaxpr) -> jex.Jaxpr:
    return program.jaxpr if isinstance(program, jex.ClosedJaxpr) else program


def _is_program(value: Any) -> bool:
    return isinstance(value, jex.Jaxpr | jex.ClosedJaxpr)
