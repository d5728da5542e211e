"""One forward pass of a model, and one backward pass to what is explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import (
    Attribution,
    check_inputs,
    examples_in,
)
from jaxinterp.attribution.tokens import explained_at
from jaxinterp.objectives.explained import explained, reads_of
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, check_score
from jaxinterp.objectives.seed import Seed, gradient_seed
from jaxinterp.rules.composite import DERIVATIVE, Composite
from jaxinterp.rules.local import is_local
from jaxinterp.tracing.by_address import ByAddress
from jaxinterp.tracing.call import Traced, trace_call
from jaxinterp.tracing.facts.flow import active_values
from jaxinterp.tracing.graph import Graph, Site
from jaxinterp.tracing.narrow import takes_slices
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.select import select
from jaxinterp.tracing.split import check_can_start
from jaxinterp.tracing.with_rules import rule_changes
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


def explained_sites(graph: Graph, at: Sites) -> dict[str, Site]:
    """Returns the sites of `at` whose activation can be explained.

    A single address may lie inside of a fused affine map, which is then split there. If
    `at` matches several sites, those inside of a map are left out: they have no
    relevance.

    Args:
        graph: a traced model.
        at: an address, a glob or a selector.

    Raises:
        AddressError: if there is no such site.
        TypeError: if the only such site is not of real numbers.
    """
    sites = select(graph, at)
    inexact = {a: s for a, s in sites.items() if s.value.is_inexact}
    if not inexact:
        address, site = next(iter(sites.items()))
        raise TypeError(
            f"The activation at {address!r} has dtype {site.value.dtype}, and only "
            "real numbers have a gradient."
        )
    if len(sites) == 1:
        return inexact
    edges = {v for node in graph.nodes for v in node.outputs}
    return {a: s for a, s in inexact.items() if s.value in edges}


def trace_to_sites(
    apply_fn: ApplyFn, variables: Variables, inputs: Inputs, at: Sites
) -> tuple[Traced, dict[str, Site]]:
    """Returns a trace in which the sites of `at` can be explained, and these sites.

    Args:
        apply_fn: the model.
        variables: the weights of the model.
        inputs: a batch of the model's inputs.
        at: an address, a glob or a selector.
    """

    def cuts(graph: Graph) -> frozenset[Value]:
        sites = explained_sites(graph, at)
        inner = {s.value for s in sites.values()}
        return frozenset(inner) if len(sites) == 1 else frozenset()

    traced = trace_call(apply_fn, variables, inputs, cuts=cuts)
    return traced, explained_sites(traced.graph, at)


def the_only_site(sites: dict[str, Site], at: Sites, name: str) -> Site:
    """Returns the one site that `at` means.

    Args:
        sites: the sites that `at` matches, by address.
        at: an address, a glob or a selector.
        name: the name of the method that needs a single site, for the error.

    Raises:
        ValueError: if there are several.
    """
    if len(sites) > 1:
        raise ValueError(
            f"{name} explains one site at a time, and {str(at)!r} matches "
            f"{len(sites)}: {', '.join(list(sites)[:5])}, ..."
        )
    return next(iter(sites.values()))


def check_path(
    traced: Traced, values: Iterable[Value], score: Score, target: Target, at: Sites
) -> None:
    """Raises if the score depends on none of the activations that are explained.

    Args:
        traced: the traced model.
        values: the activations that are explained.
        score: which number per example is explained.
        target: what the score needs beside the outputs, such as class indices.
        at: the address, glob or selector of the activations, for the error.

    Raises:
        ValueError: if no path leads from an activation to an output that the score
            reads. A score whose slope happens to be zero is none.
    """
    program = traced.graph.program
    shapes = [jax.ShapeDtypeStruct(o.shape, o.dtype) for o in program.outputs]
    outputs = jax.tree.unflatten(traced.out_tree, shapes)
    reads = jax.tree.leaves(reads_of(lambda y: score(y, target), outputs))
    after = active_values(program, values)
    pairs = zip(program.outputs, reads, strict=True)
    if not any(is_read and output in after for output, is_read in pairs):
        raise ValueError(
            f"The score does not depend on the activation at {str(at)!r}, which would "
            "get zeros:\nno path leads from there to what the score reads. Give `at` a "
            "site that comes before that, or leave it out to explain the inputs."
        )


def is_single(at: Sites, sites: dict[str, Site]) -> bool:
    """Whether `at` was meant as one site: one of its names rather than a pattern.

    Args:
        at: an address, a glob or a selector.
        sites: the sites that `at` matches, by address.
    """
    return len(sites) == 1 and at in next(iter(sites.values())).names


def shaped(at: Sites, sites: dict[str, Site], arrays: Mapping[str, Any]) -> Any:
    """Returns the array at a site that was named, or the arrays of a glob by address.

    Args:
        at: an address, a glob or a selector.
        sites: the sites that `at` matches, by address.
        arrays: the array at each of them, by address.
    """
    by_address = ByAddress.of(sites, arrays)
    return next(iter(by_address.values())) if is_single(at, sites) else by_address


def changes_after(
    graph: Graph, values: Iterable[Value], composite: Composite
) -> Changes:
    """Returns the rules of a composite, for the way back from the outputs to values.

    What comes before the values is not on that way: it runs as it is, so that an outer
    derivative, in the weights, is its own.

    Args:
        graph: a traced model.
        values: the activations that are explained.
        composite: which site gets which rule.
    """
    rules = composite.resolve(graph)
    after = active_values(graph.program, values)
    return rule_changes(
        {n: rule for n, rule in rules.items() if not after.isdisjoint(n.inputs)}
    )


def _narrowed(
    traced: Traced, composite: Composite, whole: Iterable[Value] = ()
) -> Traced:
    """Returns a call that computes only what its outputs read of each activation.

    What a rule looks at as a whole is computed whole. A composite that has a rule for a
    slice or the like means the call as it is.

    Args:
        traced: a traced model.
        composite: which site gets which rule.
        whole: the activations that are explained.
    """
    if not takes_slices(traced.graph.program):
        return traced
    moves = (node for node in traced.graph.nodes if node.is_structural)
    if any(composite.choose(node) is not None for node in moves):
        return traced
    rules = composite.resolve(traced.graph)
    nodes = [node for node, rule in rules.items() if not is_local(rule)]
    looked_at = {v for node in nodes for v in (*node.inputs, *node.outputs)}
    return traced.narrowed(looked_at.union(whole))


class Backward:
    """One forward pass of a model, and the way back to what is explained.

    Attributes:
        outputs: what the model returns, or the part of it that the way back starts at.
        activations: what is explained: the inputs, or a dict of activations by address.
        sites: the sites that are explained, by address; none of the inputs.
    """

    def __init__(
        self,
        apply_fn: ApplyFn,
        variables: Variables,
        inputs: Inputs,
        composite: Composite,
        at: Sites | None,
        part: Callable[[Any], Any] = lambda outputs: outputs,
    ):
        at = explained_at(apply_fn, variables, inputs, at)
        check_inputs(inputs, at, variables)
        self.at, self._part = at, part
        self.sites: dict[str, Site] = {}
        if at is None:
            self.activations = inputs
            self.outputs, self._pull = jax.vjp(
                lambda x: self._apply(apply_fn, variables, x, composite), inputs
            )
        else:
            self._start_at_sites(apply_fn, variables, inputs, composite, at)

    def _apply(
        self, apply_fn: ApplyFn, variables: Any, x: Any, composite: Composite
    ) -> Any:
        traced = _narrowed(trace_call(apply_fn, variables, x), composite)
        outputs, _ = traced.run(rule_changes(composite.resolve(traced.graph)))
        return self._part(outputs)

    def _start_at_sites(
        self,
        apply_fn: ApplyFn,
        variables: Variables,
        inputs: Inputs,
        composite: Any,
        at: Any,
    ) -> None:
        traced, sites = trace_to_sites(apply_fn, variables, inputs, at)
        self.sites, self._traced = sites, traced
        # A module and its last operation are two addresses of one value.
        shapes = {site.value: site.shape for site in sites.values()}
        traced = _narrowed(traced, composite, shapes)
        changes = changes_after(traced.graph, shapes, composite)
        changes = dataclasses.replace(changes, captures=frozenset(shapes))

        def run(probes: list[Any]) -> Any:
            outputs, captured = traced.run(
                changes, dict(zip(shapes, probes, strict=True))
            )
            return self._part(outputs), [captured[value] for value in shapes]

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

    def check_path(self, score: Score, target: Target) -> None:
        """Raises if the score depends on nothing of what is explained at sites.

        Args:
            score: which number per example is explained.
            target: what the score needs beside the outputs, such as class indices.
        """
        if self.at is not None:
            values = [site.value for site in self.sites.values()]
            check_path(self._traced, values, score, target, self.at)

    def check_outside_of_loops(self) -> None:
        """Raises if a site that is explained has several values, one for each step."""
        for site in self.sites.values():
            check_can_start(self._traced.graph, site)

    def shaped(self, result: Any) -> Any:
        """Returns the array alone if one site is explained, otherwise all by address.

        Args:
            result: something in the structure of `activations`.
        """
        if self.at is None:
            return result
        return shaped(self.at, self.sites, result)


def attribution_by_backward(
    apply_fn: ApplyFn,
    *,
    score: Score | Objective | str,
    at: Sites | None,
    composite: Composite = DERIVATIVE,
    seed: Seed = gradient_seed,
    finish: Callable[[Any, Any], Any] = lambda received, activation: received,
) -> Attribution:
    """Returns the attribution function of a method that is one backward pass.

    Args:
        apply_fn: the model.
        score: which number per example is explained: a score of the outputs, or an
            objective.
        at: the site whose activation is explained; the inputs by default.
        composite: the rules of the backward pass; plain derivatives by default.
        seed: the function that makes what the backward pass starts with; by default
            the gradient of the score.
        finish: a function of what reaches an array and of that array, which returns
            the attribution.

    Raises:
        TypeError: if `score` is neither a function nor an objective.
    """
    model, score_fn = explained(apply_fn, score)

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        back = Backward(model, variables, inputs, composite, at)
        start = checked_seed(seed, score_fn, back.outputs, target, examples_in(inputs))
        back.check_path(score_fn, target)
        return back.shaped(jax.tree.map(finish, back(start), back.activations))

    return attribute


def checked_seed(
    seed: Seed, score: Score, outputs: Any, target: Target, n_examples: int
) -> Any:
    """Returns what a backward pass starts with, of a score that was checked.

    Args:
        seed: the function that makes what the backward pass starts with.
        score: which number per example is explained.
        outputs: what the model returns.
        target: what the score needs beside the outputs, such as class indices.
        n_examples: the number of examples in the batch.

    Raises:
        ValueError: if the score does not return one number per example.
        TypeError: if the numbers are not real.
    """
    check_score(score(outputs, target), n_examples, score)
    return seed(score, outputs, target)
