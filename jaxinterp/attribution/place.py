"""Where a model is explained by other values than its own: its inputs, or one site.

Methods that follow a path or take something away evaluate a model many times, each time
with another array in place of the explained one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.backward import (
    Backward,
    changes_after,
    check_path,
    checked_seed,
    shaped,
    the_only_site,
    trace_to_sites,
)
from jaxinterp.attribution.contract import (
    as_arrays,
    check_inputs,
    check_target,
    examples_in,
)
from jaxinterp.attribution.tokens import explained_at
from jaxinterp.objectives.score import Score, check_score
from jaxinterp.objectives.seed import gradient_seed
from jaxinterp.perturbation.baseline import fill_baseline
from jaxinterp.pytree import pytree, static
from jaxinterp.rules.composite import DERIVATIVE
from jaxinterp.tracing.call import Traced
from jaxinterp.tracing.graph import Site
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.split import check_can_start
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@pytree
class Place:
    """The explained array of a call of a model, and what the score needs beside it.

    Attributes:
        variables: the weights of the model.
        array: the inputs, or the activation at the site.
        target: what the score needs beside the outputs, such as class indices.
        rest: the model from the site on; `None` if the inputs are explained.
        n_examples: the number of examples in the batch.
    """

    variables: Any
    array: Any
    target: Any
    rest: _Rest | None
    n_examples: int = static()

    def scores(self, model: ApplyFn, score: Score, array: Any) -> Any:
        """Returns the score of each example for another array in place of the own.

        Args:
            model: the model, whose inputs the array is; not used at a site.
            score: which number per example is explained.
            array: what takes the place of `array`, in its structure and shapes.

        Raises:
            ValueError: if the score does not return one number per example.
            TypeError: if the numbers are not real.
        """
        if self.rest is None:
            outputs = model(self.variables, array)
        else:
            outputs = self.rest.outputs(array)
        values = score(outputs, self.target)
        check_score(values, self.n_examples, score)
        return values

    def slopes(self, model: ApplyFn, score: Score, array: Any) -> Any:
        """Returns the gradient of the score for another array in place of the own.

        Args:
            model: the model, whose inputs the array is; not used at a site.
            score: which number per example is explained.
            array: what takes the place of `array`, in its structure and shapes.

        Raises:
            ValueError: if the score does not return one number per example.
            TypeError: if the numbers are not real.
        """
        if self.rest is None:
            pull = Backward(model, self.variables, array, DERIVATIVE, None)
            outputs = pull.outputs
        else:
            outputs, pull = self.rest.backward(array)
        return pull(
            checked_seed(gradient_seed, score, outputs, self.target, self.n_examples)
        )

    def filled(self, baseline: Any, key: Key) -> Any:
        """Returns a baseline in the shapes of `array`.

        Args:
            baseline: the baseline, as methods take it; of a site with the axes that the
                model has there.
            key: the random key that a baseline that is a function gets.
        """
        if self.rest is None:
            return fill_baseline(baseline, self.array, key)
        return self.rest.in_order(
            fill_baseline(baseline, self.in_model(self.array), key)
        )

    def in_model(self, array: Any) -> Any:
        """Returns an array with the axes that the model has at the site.

        Args:
            array: something in the structure and shapes of `array`.
        """
        return array if self.rest is None else self.rest.in_model(array)

    def shaped(self, at: Sites | None, result: Any) -> Any:
        """Returns what was computed, by address if `at` is a glob or a selector.

        Args:
            at: the site that was explained, if any.
            result: something in the structure of `array`.
        """
        return (
            result if at is None or self.rest is None else self.rest.shaped(at, result)
        )


def place_of(
    model: ApplyFn,
    score: Score,
    variables: Variables,
    inputs: Inputs,
    target: Target,
    *,
    at: Sites | None,
    name: str,
    needs_slopes: bool = True,
    channels_last: bool = False,
) -> Place:
    """Returns where a model is explained, once its arguments are checked.

    Args:
        model: the model, as `explained` returns it.
        score: which number per example is explained.
        variables: the weights of the model.
        inputs: the batch to be explained.
        target: what the score needs beside the outputs, such as class indices.
        at: the site whose activation is explained; the inputs by default.
        name: the name of the method, for errors.
        needs_slopes: whether the method takes derivatives, so that inputs have to be
            real numbers.
        channels_last: whether the array at a site has its channels on the last axis,
            wherever the model has them.

    Raises:
        TypeError: if a leaf is not an array, or is of integers where slopes are needed.
        ValueError: if leaves disagree on the size of the batch, if `at` matches several
            sites, if the target does not fit the score, or with `channels_last` if it
            cannot be told where a site has its channels.
    """
    if needs_slopes:
        at = explained_at(model, variables, inputs, at)
    check_inputs(inputs, at, variables, needs_slopes=needs_slopes)
    n_examples = examples_in(inputs)
    if at is None:
        check_target(lambda x: score(model(variables, x), target), inputs, target)
        array = jax.tree.map(jnp.asarray, inputs)  # of NumPy's in a dtype of JAX
        return Place(variables, array, as_arrays(target), None, n_examples)
    traced, sites = trace_to_sites(model, variables, inputs, at)
    site = the_only_site(sites, at, name)
    check_can_start(traced.graph, site)
    rest = _Rest(traced.operands, _Program(traced, site, channels_last))
    rest.check_target(score, target, at)
    return Place(variables, rest.activation(), as_arrays(target), rest, n_examples)


class _Program:
    """A trace, equal to any other trace of the same model at the same site.

    A step is compiled once for arrays of some shapes, and these settle the program.
    """

    def __init__(self, traced: Traced, site: Site, channels_last: bool):
        self.traced = dataclasses.replace(traced, operands=())
        self.site = site
        self.channels_last = channels_last

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and other.channels_last == self.channels_last

    def __hash__(self) -> int:
        return 0


@pytree
class _Rest:
    """A traced model from a site on.

    Attributes:
        operands: the arrays of the traced call.
        program: the trace, and the site.
    """

    operands: tuple[Any, ...]
    program: _Program = static()

    def run(self, changes: Changes) -> tuple[Any, Any]:
        """Returns the outputs, and the captured values."""
        traced = self.program.traced
        return dataclasses.replace(traced, operands=self.operands).run(changes)

    def shaped(self, at: Sites, result: Any) -> Any:
        """Returns an array at the site, by address if `at` is a glob or a selector."""
        site = self.program.site
        return shaped(at, {site.address: site}, {site.address: result})

    def activation(self) -> Any:
        """Returns the activation at the site."""
        value = self.program.site.value
        return self.in_order(self.run(Changes(captures=frozenset({value})))[1][value])

    def in_order(self, array: Any) -> Any:
        """Returns an array at the site in the order of axes of the explained one."""
        program = self.program
        return program.site.channels_last(array) if program.channels_last else array

    def in_model(self, array: Any) -> Any:
        """Returns an array in the order of the explained one with the model's axes."""
        program = self.program
        return program.site.channels_back(array) if program.channels_last else array

    def check_target(self, score: Score, target: Target, at: Sites) -> None:
        """Raises what is wrong with a target, or if the score is before the site."""
        traced = self.program.traced
        outputs = [
            jax.ShapeDtypeStruct(o.shape, o.dtype) for o in traced.graph.program.outputs
        ]
        outputs = jax.tree.unflatten(traced.out_tree, outputs)
        check_target(lambda y: score(y, target), outputs, target)
        check_path(traced, [self.program.site.value], score, target, at)

    def outputs(self, activation: Any, changes: Changes | None = None) -> Any:
        """Returns the outputs for another activation."""
        activation = self.in_model(activation)
        edits = {self.program.site.value: lambda _: activation}
        return self.run(dataclasses.replace(changes or Changes(), edits=edits))[0]

    def backward(self, activation: Any) -> tuple[Any, Callable[[Any], Any]]:
        """Returns the outputs for another activation, and how to go back to it."""
        graph, value = self.program.traced.graph, self.program.site.value
        changes = changes_after(graph, [value], DERIVATIVE)
        outputs, pull = jax.vjp(lambda a: self.outputs(a, changes), activation)
        return outputs, lambda seed: pull(seed)[0]
