"""Whether an explanation changes when what the network has learned is lost."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import Attribution, as_arrays, examples_in
from jaxinterp.checks import check_choice, check_function
from jaxinterp.keys import check_key
from jaxinterp.loop.sums import evaluated
from jaxinterp.metrics.contract import (
    Measure,
    as_rows,
    check_attributions,
    check_same_shapes,
    own_key,
)
from jaxinterp.metrics.rank_correlation import rank_correlation
from jaxinterp.pytree import pytree, static
from jaxinterp.tracing.call import leaf_path, trace_call
from jaxinterp.tracing.graph import Graph, parameter_leaves
from jaxinterp.tracing.mistakes import call_model
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables

RandomizationOrder = Literal["top_down", "bottom_up", "independent"]


@pytree
class Randomization:
    """How alike explanations stay as layers are randomized, one after another.

    Attributes:
        attributions: the similarity of each example's attributions to those of the
            trained network, `(batch, layers)`.
        outputs: the same similarity of the network's outputs, `(batch, layers)`.
        layers: the name of the layer that is randomized last at each step.
    """

    attributions: Any
    outputs: Any
    layers: tuple[str, ...] = static()


class _Context(NamedTuple):
    """What one step needs to know.

    Attributes:
        variables: the trained weights.
        drawn: other weights, as they are before training.
        places: for each leaf of the weights, at which step it is randomized.
        inputs: the batch that was explained.
        attributions: how it was explained.
        outputs: what the trained network returns.
        target: what the score needs beside the outputs, such as class indices.
        key: the random key of the measure.
    """

    variables: Any
    drawn: Any
    places: Any
    inputs: Any
    attributions: Any
    outputs: Any
    target: Any
    key: Any


def module_of(path: str) -> str:
    """Returns the module that owns a leaf of the variables: the path without its end.

    Collections of flax are no part of the name, so that the running statistics of a
    batch norm belong to the layer of its weights.

    Args:
        path: the path of a leaf, such as `"params/Conv_0/kernel"`.

    Example:
        >>> module_of("batch_stats/Block_0/BatchNorm_0/mean"), module_of("0/w")
        ('Block_0/BatchNorm_0', '0')
    """
    *parents, _ = path.split("/")
    if parents[:1] in (["params"], ["batch_stats"]):
        parents = parents[1:]
    return "/".join(parents)


def parameter_randomization(
    apply_fn: ApplyFn,
    *,
    attribution_fn: Attribution,
    init: Callable[[Key], Variables],
    order: RandomizationOrder = "top_down",
    layer_of: Callable[[str], str] = module_of,
    similarity: Callable[[Any, Any], Any] = rank_correlation,
) -> Measure:
    r"""Says how much of an explanation survives when layers forget what they learned.

    $$s_l = \operatorname{similarity}(a(x; \theta), a(x; \theta_l))$$

    where in $\theta_l$ the first $l$ layers of the order have the weights of `init`
    with another key, $l = 1, \dots, L$. An explanation that stays similar to the end
    does not depend on the network: it shows the input. Only then: a map may lose its
    likeness and still be wrong, or keep some because the layers below keep the
    activations where they were, so look at `outputs` beside it, and at the reverse
    order. The trained network itself, $l = 0$, is no part of the result.

    Layers have the order in which the network reads them. What is drawn is the same for
    all examples. Cost: $L$ explanations; one program serves all of them.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        attribution_fn: the attribution function that made the attributions. It gets the
            key of the measure as it is: give the one that the attributions were made
            with, and the noise of a random method is no part of the difference.
        init: the function from a random key to untrained weights, from the distribution
            that training started from, such as `lambda key: model.init(key, x)`.
        order: `"top_down"` randomizes the last layer first and goes on to the first,
            `"bottom_up"` the other way round; with `"independent"` only one layer at a
            time is random, the last one first.
        layer_of: the function from the path of a leaf, such as
            `"params/Conv_0/kernel"`, to the name of its layer.
        similarity: a function of two attributions that returns `(batch,)`; the rank
            correlation with signs by default. Of magnitudes, write
            `lambda a, b: rank_correlation(abs(a), abs(b))`.

    Returns:
        A measure of a `Randomization`, in units of the similarity, that needs a `key`.

    Raises:
        ValueError: if there is no such order; when called, if `init` returns other
            weights than the variables, if the model reads none of them, if the
            attributions are not what the function returns, or if the similarity is not
            one number per example.
        TypeError: if `attribution_fn` or `init` is no function; when called, if there
            is no key.

    References:
        Adebayo et al., 2018 [adebayo2018sanity]; Hedström et al., 2024, on what can be
        concluded from it [hedstrom2024fresh].

    Example:
        >>> from jaxinterp.attribution import saliency
        >>> model = lambda v, x: jnp.tanh(x @ v["first"]["w"]) @ v["last"]["w"]
        >>> init = lambda key: {"first": {"w": jax.random.normal(key, (3, 2))},
        ...                     "last": {"w": jax.random.normal(key, (2, 4))}}
        >>> trained, key = init(jax.random.key(1)), jax.random.key(0)
        >>> attribute, x = saliency(model), jnp.array([[0.3, -1.0, 2.0]])
        >>> measure = parameter_randomization(
        ...     model, attribution_fn=attribute, init=init)
        >>> measure(trained, x, attribute(trained, x, 0), 0, key).layers
        ('last', 'first')
    """
    call = "parameter_randomization"
    check_choice("order", order, get_args(RandomizationOrder), call=call)
    example = "attribute(variables, inputs, target, key)"
    check_function("attribution_fn", attribution_fn, example, call=call)
    check_function("init", init, "init(key) -> variables", call=call)
    model = functools.partial(call_model, apply_fn)

    def step(context: _Context, number: Any) -> Any:
        variables = _mixed(context, number, order)
        values = attribution_fn(variables, context.inputs, context.target, context.key)
        outputs = model(variables, context.inputs)
        alike = (
            similarity(context.attributions, values),
            similarity(as_rows(context.outputs), as_rows(outputs)),
        )
        _check_similarities(alike, examples_in(context.inputs))
        return alike

    similarities_at = evaluated(step, batch_size=1, name=call)

    def measure(
        variables: Variables,
        inputs: Inputs,
        attributions: Any,
        target: Target = None,
        key: Key = None,
    ) -> Any:
        check_attributions(attributions, inputs)
        check_key(call, key)
        drawn = init(own_key(key))
        check_same_shapes("variables", variables, drawn, "`init`")
        # The target itself, and no tracer of it, so that its values are looked at.
        shapes = jax.eval_shape(
            lambda v, x: attribution_fn(v, x, target, key), variables, inputs
        )
        check_same_shapes("attributions", attributions, shapes, "`attribution_fn`")
        traced = trace_call(apply_fn, variables, inputs)
        layers = _layers(traced.graph, layer_of)
        if order != "bottom_up":
            layers = layers[::-1]
        context = _Context(
            variables,
            drawn,
            _places(variables, layers, layer_of),
            inputs,
            attributions,
            model(variables, inputs),
            as_arrays(target),
            key,
        )
        points = jnp.arange(len(layers))
        of_attributions, of_outputs = similarities_at(context, points, inputs)
        return Randomization(of_attributions.T, of_outputs.T, layers)

    return measure


def _mixed(context: _Context, number: Any, order: RandomizationOrder) -> Any:
    """The weights of one step: trained ones, and drawn ones in their place."""

    def mixed(trained: Any, drawn: Any, place: Any) -> Any:
        if not hasattr(trained, "dtype"):
            return trained
        is_drawn = place == number if order == "independent" else place <= number
        return jnp.where(is_drawn, jnp.asarray(drawn, trained.dtype), trained)

    return jax.tree.map(mixed, context.variables, context.drawn, context.places)


def _check_similarities(alike: tuple[Any, ...], n_examples: int) -> None:
    shapes = [jnp.shape(one) for one in alike]
    if any(shape != (n_examples,) for shape in shapes):
        raise ValueError(
            "parameter_randomization: `similarity` returns one number per example, "
            f"({n_examples},), and returned {' and '.join(map(str, shapes))}."
        )


def _layers(graph: Graph, layer_of: Callable[[str], str]) -> tuple[str, ...]:
    """The layers of a network in the order in which it reads them."""
    paths = [
        graph.parameters[leaf]
        for node in graph
        for leaf in parameter_leaves(node, graph.parameters)
    ]
    if not paths:
        raise ValueError(
            "parameter_randomization() replaces weights, and the model reads none of "
            "its variables.\nGive the weights as its first argument, "
            "`apply_fn(variables, inputs)`."
        )
    return tuple(dict.fromkeys(map(layer_of, paths)))


def _places(
    variables: Any, layers: tuple[str, ...], layer_of: Callable[[str], str]
) -> Any:
    """For each leaf the number of its layer; a large one if the network reads none."""

    def place(path: Any, _: Any) -> Any:
        layer = layer_of(leaf_path(path))
        return np.int32(layers.index(layer) if layer in layers else len(layers))

    return jax.tree_util.tree_map_with_path(place, variables)
