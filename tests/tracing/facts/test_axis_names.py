"""Which axes count the same things: followed through layouts, products and loops."""

import jax.numpy as jnp
import pytest
from jax import lax

from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.facts.axis_names import AxisNames
from jaxinterp.tracing.program.program import Value
from tests.tracing.arrays import normal

# Equal sizes, so that they tell nothing: examples, positions, positions, features.
X = normal(3, 3, 3, 3)
W = normal(3, 3)


def in_a_scan(x):
    return lax.scan(lambda c, s: (c + s, c.swapaxes(1, 2)), x, jnp.stack([x, x]))[1]


def windows(x):
    return x.reshape(3, 9, 3)[:, :8].reshape(3, 4, 2, 3)


# For each axis of the result the input's axes that it is: "e" examples, "h" and "w"
# positions, "f" features, "." another.
NAMES = {
    "pointwise": (jnp.tanh, "e h w f"),
    "transposed": (lambda x: x.transpose(2, 0, 3, 1), "w e f h"),
    "a kernel": (lambda x: x @ W, "e h w ."),
    "a batch product": (lambda x: jnp.einsum("bhwi,bhvi->hbwv", x, x), "h e w w"),
    "merged": (lambda x: x.reshape(9, 9), "eh wf"),
    "merged and moved and split": (
        lambda x: (x.reshape(9, 9).T @ normal(9, 2)).reshape(3, 3, 2),
        "w f .",
    ),
    "merged, moved and apart": (
        lambda x: x.reshape(9, 9).T.reshape(3, 3, 3, 3),
        "w f e h",
    ),
    "a size of one": (lambda x: x.sum(2, keepdims=True), "e h - f"),
    "a part": (lambda x: x[:, :2], "e . w f"),
    "joined": (lambda x: jnp.concatenate([x, x], axis=1), "e . w f"),
    "unstacked": (lambda x: jnp.unstack(x, axis=1)[0], "e w f"),
    "one beside the other": (lambda x: x[:, :, None] - x[:, :, :, None], "e h w w f"),
    "added to itself moved": (lambda x: x + x.swapaxes(1, 2), "e h h f"),
    "in a scan": (in_a_scan, ". e w h f"),
    "split into windows": (windows, "e . . f"),
}


def traced_names(fn, x):
    """All names, those of the axes of the input, and those of the output."""
    traced = trace_call(lambda _, x: fn(x), None, x)
    program = traced.graph.program
    names = AxisNames(program, traced.inputs, traced.graph.flows[program].active)
    (output,) = program.outputs
    assert isinstance(output, Value)
    return names, names.of(traced.inputs[0]), names.of(output)


@pytest.mark.parametrize("name", NAMES)
def test_an_axis_that_is_moved_keeps_its_name(name):
    fn, expected = NAMES[name]
    names, own, found = traced_names(fn, X)
    roots = zip(own[::-1], "fwhe", strict=True)
    letters = {part: letter for (part,), letter in roots}  # of two the first one
    assert letters[names.examples] == "e"
    axes = ("".join(letters.get(part, ".") for part in axis) or "-" for axis in found)
    assert " ".join(axes) == expected


def test_windows_count_positions_and_heads_do_not():
    def positions(fn, x):
        _, _, found = traced_names(fn, x)
        return [any(part.is_position for part in axis) for axis in found]

    x = normal(3, 8, 4)
    assert positions(lambda x: x.reshape(3, 4, 2, 4), x) == [False, True, True, False]
    assert positions(lambda x: x.reshape(3, 8, 2, 2), x) == [False, True, False, False]
    heads = normal(4, 2, 3)
    split = positions(lambda x: jnp.einsum("bnd,dhf->bhnf", x, heads), x)
    assert split == [False, False, True, False]
    of_image = positions(
        lambda x: lax.conv_general_dilated(
            x,
            normal(2, 2, 3, 5),
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ),
        X,
    )
    assert of_image == [False, True, True, False]


def test_a_single_example_has_no_part():
    names, own, _ = traced_names(jnp.tanh, X[:1])
    assert names.examples.size == 1
    assert own[0] == ()
