"""Whether an explanation stays when the input hardly changes."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, as_arrays, check_inputs
from jaxinterp.checks import (
    check_choice,
    check_function,
    checked_integer,
    checked_real,
)
from jaxinterp.keys import check_key, folded, steady
from jaxinterp.loop.fast_scan import scan
from jaxinterp.loop.sums import evaluated
from jaxinterp.metrics.contract import (
    Measure,
    as_rows,
    check_attributions,
    check_same_shapes,
    own_key,
)
from jaxinterp.types import Inputs, Key, Target, Variables

Reduction = Literal["max", "mean"]


class _Context(NamedTuple):
    """What one draw needs to know.

    Attributes:
        variables: the weights of the model.
        inputs: the batch that was explained.
        attributions: how it was explained.
        target: what the score needs beside the outputs, such as class indices.
        key: the random key of the measure.
    """

    variables: Any
    inputs: Any
    attributions: Any
    target: Any
    key: Any


@dataclasses.dataclass(frozen=True)
class _Search:
    """How far the attribution moves from one random start.

    Attributes:
        attribution_fn: the attribution function.
        radius: the largest change of an entry.
        steps: the number of steps of the climb.
    """

    attribution_fn: Attribution
    radius: float
    steps: int

    def __call__(self, context: _Context, sample: Any) -> Any:
        """Returns the largest change on the way, `(batch,)`."""
        key = folded(steady(own_key(context.key)), sample)
        start = _uniform(key, context.inputs, self.radius)
        if not self.steps:
            return jnp.sqrt(self.squared_change(context, start))

        def climb(state: Any, _: Any) -> Any:
            change, best = state
            value, pull = jax.vjp(lambda d: self.squared_change(context, d), change)
            (slope,) = pull(jnp.ones_like(value))
            change = jax.tree.map(self.moved, change, slope)
            return (change, jnp.maximum(best, value)), None

        nothing = jnp.zeros_like(as_rows(context.attributions)[:, 0])
        (end, best), _ = scan(climb, (start, nothing), jnp.arange(self.steps))
        return jnp.sqrt(jnp.maximum(best, self.squared_change(context, end)))

    def squared_change(self, context: _Context, change: Any) -> Any:
        """Returns the squared distance of the attributions, `(batch,)`."""
        inputs = jax.tree.map(jnp.add, context.inputs, change)
        values = self.attribution_fn(
            context.variables, inputs, context.target, context.key
        )
        difference = as_rows(values) - as_rows(context.attributions)
        return (difference * difference).sum(axis=1)

    def moved(self, change: Any, slope: Any) -> Any:
        """Returns a change after one step uphill, inside of the cube."""
        size = 2.5 * self.radius / self.steps
        change = change + (size * jnp.sign(slope)).astype(change.dtype)
        return jnp.clip(change, -self.radius, self.radius)


def sensitivity(
    attribution_fn: Attribution,
    *,
    radius: float = 0.02,
    samples: int = 10,
    steps: int = 0,
    reduction: Reduction = "max",
    is_relative: bool = True,
    batch_size: int | None = None,
) -> Measure:
    r"""Says how far an attribution moves when the input moves a little.

    $$\max_{\lVert d \rVert_\infty \le r} \lVert a(x + d) - a(x) \rVert_2 \;/\;
    \lVert a(x) \rVert_2$$

    With `steps=0` the largest of `samples` random $d$, uniform in the cube; a lower
    bound, which few samples leave far below the truth in many dimensions. With steps
    each sample is a start from which $d$ climbs, $d \leftarrow \operatorname{clip}(d +
    2.5\,\frac{r}{\text{steps}} \operatorname{sign} \nabla_d \lVert a(x + d) - a(x)
    \rVert^2)$, and the largest value on the way counts: never less than without steps.
    The gradient of a piecewise linear network does not change between its kinks, so
    there the climb of `gradient` stays where it starts and this is the random search;
    rules with a smooth backward pass, such as `BetaSmooth`, do climb.

    A constant explanation has sensitivity 0, so this says nothing about whether one is
    right. The draws are the same for all examples of a batch. Cost: `samples`
    explanations; with steps, `samples` x (`steps` + 1) and their gradients.

    Args:
        attribution_fn: the attribution function that made the attributions, of
            real-valued inputs. It gets the key of the measure as it is: give the one
            that the attributions were made with, and the noise of a random method is no
            part of the difference.
        radius: the largest change $r$ of an entry, in the units of the inputs.
        samples: the number of random changes, or of starts.
        steps: the number of steps of each climb.
        reduction: `"max"`, or `"mean"` for the average sensitivity over random changes.
        is_relative: whether the change is divided by the norm of the attribution. The
            authors' definition does not, other libraries do; without it methods with
            other units cannot be compared.
        batch_size: the number of samples computed at once, for all examples; by default
            as many as make 16 MB of inputs together, at least one.

    Returns:
        A measure that needs a `key`: 0 or more, relative to the attribution, or in its
        units; low is stable. NaN where the attribution is zero everywhere and
        `is_relative`.

    Raises:
        ValueError: if a number is out of range, or with `reduction="mean"` and steps;
            when called, if the attributions are not what the function returns.
        TypeError: if `attribution_fn` is no function; when called, if there is no key,
            or the inputs are not real numbers.

    References:
        Yeh et al., 2019 [yeh2019fidelity].

    Example:
        >>> from jaxinterp.attribution import gradient
        >>> from jaxinterp.objectives import total
        >>> x, key = jnp.array([[1.0, 3.0]]), jax.random.key(0)
        >>> attribute = gradient(lambda w, x: w * x, score=total)
        >>> sensitivity(attribute)(2.0, x, attribute(2.0, x), key=key).tolist()
        [0.0]
    """
    call = "sensitivity"
    example = "attribute(variables, inputs, target, key)"
    check_function("attribution_fn", attribution_fn, example, call=call)
    radius = checked_real("radius", radius, 0, call=call)
    samples = checked_integer("samples", samples, 1, call=call)
    steps = checked_integer("steps", steps, 0, call=call)
    check_choice("reduction", reduction, get_args(Reduction), call=call)
    if steps and reduction == "mean":
        raise ValueError(
            "sensitivity: the mean is one over random changes, and a climb is none.\n"
            'Write `steps=0`, or `reduction="max"`.'
        )

    search = _Search(attribution_fn, radius, steps)
    changes_at = evaluated(search, batch_size=batch_size, name=call)

    def measure(
        variables: Variables,
        inputs: Inputs,
        attributions: Any,
        target: Target = None,
        key: Key = None,
    ) -> Any:
        check_inputs(inputs, None, variables)
        check_attributions(attributions, inputs)
        check_key(call, key)
        shapes = jax.eval_shape(
            lambda x: attribution_fn(variables, x, target, key), inputs
        )
        check_same_shapes("attributions", attributions, shapes, "`attribution_fn`")
        context = _Context(variables, inputs, attributions, as_arrays(target), key)
        values = changes_at(context, jnp.arange(samples), inputs)
        value = values.max(axis=0) if reduction == "max" else values.mean(axis=0)
        if not is_relative:
            return value
        size = jnp.linalg.norm(as_rows(attributions), axis=1)
        return jnp.where(size == 0, jnp.nan, value / jnp.where(size == 0, 1, size))

    return measure


def _uniform(key: Any, inputs: Any, radius: float) -> Any:
    """A change of each entry in [-radius, radius], the same for all examples."""
    leaves, tree = jax.tree.flatten(inputs)
    changes = []
    for i, x in enumerate(leaves):
        draws = jax.random.uniform(
            folded(key, i), (1, *x.shape[1:]), jnp.float32, -radius, radius
        )
        changes.append(jnp.broadcast_to(draws, x.shape).astype(x.dtype))
    return tree.unflatten(changes)
