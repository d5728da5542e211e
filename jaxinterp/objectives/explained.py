"""A score or an objective, as what an attribution method explains.

Attribution methods differentiate a score of what a model returns. For an objective the
model is made to return the activations that the objective reads as well, and the
objective becomes a score of these: then every method explains a hidden neuron, a
channel, a direction or a combination of them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.evaluate import count_units, score_of_one_unit
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.objectives.output import Output, step_into
from jaxinterp.objectives.reader import if_of_images, in_order
from jaxinterp.objectives.score import (
    SCORES,
    AtClass,
    Score,
    as_score,
    logit,
    with_note,
)
from jaxinterp.objectives.unit import Channel
from jaxinterp.pytree import pytree, static
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.mistakes import call_model
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.select import select_one
from jaxinterp.types import ApplyFn


@pytree
class Observed:
    """What a model returns for an objective.

    Attributes:
        activations: the activation at each site of the objective, as it was captured.
        outputs: what the model itself returns.
        inputs: the inputs of the model; `None` if the objective does not read them.
        addresses: the address of each site, the number of loops around it, and the
            axis of its channels.
        n_examples: the number of examples in the batch.
    """

    activations: tuple[Any, ...]
    outputs: Any
    inputs: Any
    addresses: tuple[tuple[str, int, int], ...] = static()
    n_examples: int = static()


def explained(
    apply_fn: ApplyFn, score: Score | Objective | str
) -> tuple[ApplyFn, Score]:
    """Returns a model and a score of its outputs, of a score or an objective.

    What the model or a score of the user raises gets a note of what they got. Of an
    objective the model also returns what the objective reads. Addresses are those of
    the whole network. A
    weight that changes with the steps has its value at step 0. `output(3, score=s)`
    alone is the score `s` at the target 3, also where relevance starts; otherwise
    relevance starts with the product of what is read and the objective's slope there.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        score: a function `(outputs, target) -> (batch,)` or its name, such as
            `"margin"`; an objective of one unit, or an objective as a string, such as
            `"Conv_1:3"`.

    Returns:
        A function like `apply_fn`, and a score of what it returns.

    Raises:
        TypeError: if `score` is none of these; when the model is called, if all that
            an objective reads is of integers.
        ValueError: if the string names neither a score nor an index, or the objective
            compares images with one another; when the model is called, if the objective
            has several units.
        AddressError: when the model is called, if a site does not exist.
        AmbiguousAddressError: when the model is called, if a name fits several sites.

    Example:
        >>> from jaxinterp.objectives import channel
        >>> model = lambda w, x: jnp.tanh(w * x).sum(-1)
        >>> observed, score = explained(model, channel("tanh", 1))
        >>> outputs = observed(0.5, jnp.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> [round(value, 4) for value in score(outputs, None).tolist()]
        [0.0, 0.7616]
    """
    is_unit = isinstance(score, str) and ":" in score
    if not (is_unit or isinstance(score, Objective)):
        return functools.partial(call_model, apply_fn), with_note(as_score(score))
    objective = as_objective(score)
    if isinstance(objective, Output):
        at_logit = dataclasses.replace(objective, score=logit)
        return functools.partial(call_model, apply_fn), AtClass(
            objective.score,
            functools.partial(_score_of_outputs, objective),
            functools.partial(_score_of_outputs, at_logit),
        )
    _check_alone(objective)

    def score_fn(observed: Observed, target: Any) -> Any:
        return _score(objective, observed)

    score_fn.__name__ = score if isinstance(score, str) else type(objective).__name__

    @functools.wraps(apply_fn)
    def observing(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        traced = trace_call(apply_fn, variables, inputs, *args, **kwargs)
        sites = [select_one(traced.graph, name) for name in objective.sites]
        changes = Changes(captures=frozenset(site.value for site in sites))
        outputs, values = traced.run(changes)
        observed = Observed(
            tuple(values[site.value] for site in sites),
            outputs,
            inputs,
            tuple((s.address, len(s.length), s.channel_axis) for s in sites),
            jax.tree.leaves(inputs)[0].shape[0],
        )
        reads = reads_of(lambda observed: score_fn(observed, None), observed)
        # What is not read stays, since the network is explained as a whole; but
        # nothing goes back through it.
        outputs = jax.tree.map(
            lambda y, is_read: y if is_read else jax.lax.stop_gradient(y),
            outputs,
            reads.outputs,
        )
        images = inputs if any(jax.tree.leaves(reads.inputs)) else None
        pairs = zip(jax.tree.leaves(observed), jax.tree.leaves(reads), strict=True)
        _check_slopes([array for array, is_read in pairs if is_read])
        return dataclasses.replace(observed, outputs=outputs, inputs=images)

    return observing, score_fn


def _score_of_outputs(objective: Output, outputs: Any) -> Any:
    """The score of each example, of an objective that reads outputs alone."""
    leaves = jax.tree.leaves(step_into(outputs, objective.head))
    if not leaves or not np.ndim(leaves[0]):
        raise ValueError(
            "`score` is an objective of an output with the examples on its first axis, "
            f"and the model returns {jax.tree.map(np.shape, outputs)}.\n"
            "Return one row per example, or say which output is meant: "
            "`output(3, head='logits')`."
        )
    _check_slopes(leaves)
    return _score(objective, Observed((), outputs, None, (), leaves[0].shape[0]))


def _check_slopes(arrays: list[Any]) -> None:
    """Raises if an objective reads integers alone, along which it has no slope."""
    if arrays and not any(jnp.issubdtype(a.dtype, jnp.inexact) for a in arrays):
        kinds = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
        raise TypeError(
            f"`score` is an objective of {kinds}, and integers have no gradient.\n"
            "Explain the floats that they were made of: let the model return its "
            "logits, or name their site, `score='Dense_0:3'`."
        )


def reads_of(function: Callable[[Any], Any], outputs: Any) -> Any:
    """Returns which arrays a function depends on: a boolean for each.

    Args:
        function: the function of the arrays, such as a score; it is only traced.
        outputs: a pytree of arrays, or of `jax.ShapeDtypeStruct`s.
    """
    leaves, tree = jax.tree.flatten(outputs)
    jaxpr = jax.make_jaxpr(lambda *arrays: function(tree.unflatten(arrays)))(*leaves)
    reads = {id(v) for equation in jaxpr.eqns for v in equation.invars}
    reads |= {id(v) for v in jaxpr.jaxpr.outvars}
    return tree.unflatten(id(v) in reads for v in jaxpr.jaxpr.invars)


def _check_alone(objective: Objective) -> None:
    if objective.compares:
        raise ValueError(
            "`score` is an objective that compares the images of a unit with one "
            "another, or tells them by their number, and the examples of a batch are "
            "explained one by one.\nLeave out `diversity`, `alignment`, `interpolate` "
            "and `for_images`."
        )


def _score(objective: Objective, observed: Observed) -> Any:
    """The score of each example."""
    count = observed.n_examples
    activations = OrderedDict(
        (name, in_order(address, activation, loops, channels, count))
        for name, (address, loops, channels), activation in zip(
            objective.sites, observed.addresses, observed.activations, strict=True
        )
    )
    outputs = jax.tree.map(lambda y: if_of_images(y, count), observed.outputs)
    of_one = Shapes(
        {name: a.shape[1:] for name, a in activations.items()},
        jax.tree.map(lambda y: y.shape[1:], outputs),
        jax.tree.map(lambda x: x.shape[1:], observed.inputs),
    )
    bound = objective.bound(of_one)
    n_units = count_units(bound)
    if n_units > 1:
        raise ValueError(
            "An attribution explains one number per example, and the objective has "
            f"{n_units} units.\n{_one_unit(objective, n_units, observed)}"
        )
    view = View(activations, outputs, observed.inputs, 0)
    alone = jax.tree.map(lambda leaf: leaf[0], bound)
    scores = score_of_one_unit(alone, view, count)
    head = objective.head if isinstance(objective, Output) else ()
    return _with_undefined_slopes(scores, dict(activations) or step_into(outputs, head))


def _one_unit(objective: Objective, n_units: int, observed: Observed) -> str:
    """What to write for one unit at a time of an objective of several."""
    unit = ""
    if isinstance(objective, Channel):
        name = "neuron" if objective.is_at_center else "channel"
        unit = f"{name}({observed.addresses[0][0]!r}, "
    elif isinstance(objective, Output) and objective.score in SCORES.values():
        unit = "output("
    if not isinstance(objective, Channel | Output) or not unit:
        return _ONE_UNIT
    places = objective.position or ()
    if is_traced(objective) or any(np.size(place) > 1 for place in places):
        return _ONE_UNIT
    rest = _arguments(objective)
    index = objective.index
    numbers = list(range(n_units)) if index is None else np.asarray(index).tolist()
    array = f"jnp.arange({n_units})" if index is None else f"jnp.array({numbers})"
    i, first, second = (
        f"jaxinterp.objectives.{unit}{k}{rest})" for k in ("i", *numbers[:2])
    )
    return (
        "Explain each of them,\n`jax.vmap(lambda i: method(apply_fn, "
        f"score={i})(variables, inputs))({array})`,\nor a sum, "
        f"`score={first} + {second}`."
    )


_ONE_UNIT = (
    "Say which one is meant: give the objective one index, one position or one vector, "
    "and call the method once for each."
)


def _arguments(objective: Channel | Output) -> str:
    """The arguments of a unit behind its index, as they are written."""
    text = ""
    if isinstance(objective, Output):
        names = [name for name, score in SCORES.items() if score is objective.score]
        text += f", score={names[0]!r}" if names[0] != "logit" else ""
        text += f", head={objective.head!r}" if objective.head else ""
    if objective.position is not None:
        places = (
            None if p is None else int(np.ravel(p)[0]) for p in objective.position
        )
        text += f", position={tuple(places)}"
    return text


def _with_undefined_slopes(scores: Any, read: Any) -> Any:
    """The scores; where one is NaN so is its slope in all that may have been read.

    A traced index out of range reads NaN, whose derivative would be 0: an explanation
    that nothing matters.
    """
    is_undefined = jnp.isnan(scores)
    for leaf in jax.tree.leaves(read):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            rows = leaf.reshape(leaf.shape[0], math.prod(leaf.shape[1:]))
            rest = jnp.where(is_undefined[:, None], rows, 0).sum(axis=1)
            undefined = jnp.where(is_undefined, jnp.nan, 0).astype(scores.dtype)
            scores = scores + undefined * rest.astype(scores.dtype)
    return scores
