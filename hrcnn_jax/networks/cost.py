"""What a network costs, counted in its traced program and in its parameters.

What is computed counts: a mirrored convolution (`mirrored.py`) takes 36 products where a direct
one takes 144.
"""

import math
from typing import Any

import jax
from jax.extend import core as jex


def count_parameters(params: Any) -> int:
    """How many trainable numbers a parameter tree holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def multiply_adds(program: jex.Jaxpr | jex.ClosedJaxpr) -> int:
    """Multiply-adds of a program's convolutions and matrix products."""
    total = 0
    for equation in _open(program).eqns:
        shapes = [getattr(value.aval, "shape", ()) for value in equation.invars]
        output = math.prod(getattr(equation.outvars[0].aval, "shape", ()))
        if equation.primitive.name == "conv_general_dilated":
            features = equation.params["dimension_numbers"].rhs_spec[0]
            total += output * math.prod(shapes[1]) // shapes[1][features]
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += output * math.prod(shapes[0][axis] for axis in contracted)
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program)
        counts = [multiply_adds(each) for each in inner if _is_program(each)]
        if equation.primitive.name == "cond":  # one branch runs: here, what suits the platform
            total += max(counts)
        else:
            total += sum(counts) * equation.params.get("length", 1)  # a scan's
    return total


def _open(program: jex.Jaxpr | jex.ClosedJaxpr) -> jex.Jaxpr:
    return program.jaxpr if isinstance(program, jex.ClosedJaxpr) else program


def _is_program(value: Any) -> bool:
    return isinstance(value, jex.Jaxpr | jex.ClosedJaxpr)
