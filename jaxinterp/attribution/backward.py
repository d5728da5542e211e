"""One forward pass of a model, and one backward pass to what is explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import At, Attribution, check_inputs, examples_in
from jaxinterp.objectives.score import Score, check_score, need_score, relevance_seed
from jaxinterp.rules.composite import Composite
from jaxinterp.tracing.call import Traced, trace_call
from jaxinterp.tracing.facts.flow import active_values
from jaxinterp.tracing.graph import Graph, Site
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.select import select
from jaxinterp.tracing.selectors import Selector
from jaxinterp.tracing.with_rules import rule_changes
from jaxinterp.types import ApplyFn


def explained_sites(graph: Graph, at: Selector | str) -> dict[str, Site]:
    """Returns the sites of `at` whose activation can be explained.

    A single address may lie inside of a fused affine map, which is then split there.
    Where several sites are asked for, those inside of a map are left out: they have no
    relevance.

    Args:
        graph: a traced model.
        at: an address, a glob or a selector.

    Raises:
        AddressError: if there is no such site.
        TypeError: if the only such site is not of real numbers.
    """
    found = select(graph, at)
    inexact = {a: s for a, s in found.items() if s.value.is_inexact}
    if not inexact:
        address, site = next(iter(found.items()))
        raise TypeError(
            f"The activation at {address!r} has dtype {site.value.dtype}, and only "
            "real numbers have a gradient."
        )
    if len(found) == 1:
        return inexact
    edges = {v for node in graph.nodes for v in node.outputs}
    return {a: s for a, s in inexact.items() if s.value in edges}


def trace_to_sites(
    apply_fn: ApplyFn, variables: Any, inputs: Any, at: Selector | str
) -> tuple[Traced, dict[str, Site]]:
    """Returns a trace in which the sites of `at` can be explained, and these sites.

    Args:
        apply_fn: the model.
        variables: its weights.
        inputs: a batch.
        at: an address, a glob or a selector.
    """

    def cuts(graph: Graph) -> frozenset[Value]:
        sites = explained_sites(graph, at)
        inner = {s.value for s in sites.values()}
        return frozenset(inner) if len(sites) == 1 else frozenset()

    traced = trace_call(apply_fn, variables, inputs, cuts=cuts)
    return traced, explained_sites(traced.graph, at)


def the_only_site(sites: dict[str, Site], at: Selector | str, name: str) -> Site:
    """Returns the one site that was asked for.

    Args:
        sites: those that `at` matches.
        at: an address, a glob or a selector.
        name: what needs a single site.

    Raises:
        ValueError: if there are several.
    """
    if len(sites) > 1:
        raise ValueError(
            f"{name} explains one site at a time, and {str(at)!r} matches "
            f"{len(sites)}: {', '.join(list(sites)[:5])}, ..."
        )
    return next(iter(sites.values()))


def is_single(at: Selector | str, sites: dict[str, Site]) -> bool:
    """Whether `at` was meant as one site: an address rather than a pattern.

    Args:
        at: an address, a glob or a selector.
        sites: what it matched.
    """
    return isinstance(at, str) and list(sites) == [at]


class Backward:
    """One forward pass of a model, and the way back to what is explained.

    Attributes:
        outputs: what the model returns.
        activations: what is explained: the inputs, or a dict of activations by address.
    """

    def __init__(
        self,
        apply_fn: ApplyFn,
        variables: Any,
        inputs: Any,
        composite: Composite | None,
        at: At,
    ):
        check_inputs(inputs, at)
        self.at = at
        if at is None:
            self.activations = inputs
            self.outputs, self._pull = jax.vjp(
                lambda x: self._apply(apply_fn, variables, x, composite), inputs
            )
        else:
            self._start_at_sites(apply_fn, variables, inputs, composite, at)

    def _apply(
        self, apply_fn: ApplyFn, variables: Any, x: Any, composite: Composite | None
    ) -> Any:
        if composite is None:
            return apply_fn(variables, x)
        traced = trace_call(apply_fn, variables, x)
        outputs, _ = traced.run(rule_changes(composite.resolve(traced.graph)))
        return outputs

    def _start_at_sites(
        self, apply_fn: ApplyFn, variables: Any, inputs: Any, composite: Any, at: Any
    ) -> None:
        traced, sites = trace_to_sites(apply_fn, variables, inputs, at)
        self._single = is_single(at, sites)
        self._addresses = tuple(sites)
        # A module and its last operation are two addresses of one value.
        shapes = {site.value: site.shape for site in sites.values()}
        rules = composite.resolve(traced.graph) if composite is not None else {}
        # What comes before the sites is not on the way back: it runs as it is, so that
        # an outer derivative, in the weights, is its own.
        after = active_values(traced.graph.program, shapes)
        on_the_way = {n: r for n, r in rules.items() if not after.isdisjoint(n.inputs)}
        changes = rule_changes(on_the_way)
        changes = dataclasses.replace(changes, captures=frozenset(shapes))

        def run(probes: list[Any]) -> Any:
            outputs, captured = traced.run(
                changes, dict(zip(shapes, probes, strict=True))
            )
            return outputs, [captured[value] for value in shapes]

        probes = [jnp.zeros(shape, value.dtype) for value, shape in shapes.items()]
        self.outputs, pull, captured = jax.vjp(run, probes, has_aux=True)

        def by_address(arrays: list[Any]) -> dict[str, Any]:
            by_value = dict(zip(shapes, arrays, strict=True))
            return {address: by_value[site.value] for address, site in sites.items()}

        self.activations = by_address(captured)
        self._pull = lambda cotangent: tuple(map(by_address, pull(cotangent)))

    def __call__(self, cotangent: Any) -> Any:
        """Returns what reaches each explained activation from the outputs."""
        (received,) = self._pull(cotangent)
        return received

    def shaped(self, result: Any) -> Any:
        """Returns a dict of one asked-for site as the array alone.

        Args:
            result: something in the structure of `activations`.
        """
        if self.at is not None and self._single:
            return next(iter(result.values()))
        if self.at is not None:
            return {address: result[address] for address in self._addresses}
        return result


def attribution_by_backward(
    apply_fn: ApplyFn,
    *,
    score: Score,
    at: At,
    composite: Composite | None = None,
    seeds_relevance: bool = False,
    finish: Callable[[Any, Any], Any] = lambda received, activation: received,
) -> Attribution:
    """Returns the attribution function of a method that is one backward pass.

    Args:
        apply_fn: the model.
        score: which number per example is explained.
        at: the site whose activation is explained; the inputs by default.
        composite: the rules of the backward pass; plain derivatives by default.
        seeds_relevance: whether the outputs start with their relevance instead of the
            gradient of the score.
        finish: makes the attribution from what reaches an array, and the array.
    """
    need_score(score)

    def attribute(
        variables: Any, inputs: Any, target: Any = None, key: Any = None
    ) -> Any:
        back = Backward(apply_fn, variables, inputs, composite, at)
        batch = examples_in(inputs)
        seed = score_seed(score, back.outputs, target, seeds_relevance, batch)
        received = back(seed)
        return back.shaped(jax.tree.map(finish, received, back.activations))

    return attribute


def score_seed(
    score: Score,
    outputs: Any,
    target: Any,
    is_relevance: bool,
    batch: int,
) -> Any:
    """Returns what a backward pass starts with.

    Args:
        score: which number per example is explained.
        outputs: what the model returns.
        target: as the score takes it.
        is_relevance: whether it is relevance, or the gradient of the score.
        batch: the number of examples.
    """
    values, pull = jax.vjp(lambda y: score(y, target), outputs)
    check_score(values, batch, score)
    if is_relevance:
        return relevance_seed(score, outputs, target)
    (seed,) = pull(jnp.ones_like(values))
    return seed
