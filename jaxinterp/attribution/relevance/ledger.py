"""Where relevance goes: what every site receives, hands on, and keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.backward import (
    check_path,
    checked_seed,
    the_only_site,
    trace_to_sites,
)
from jaxinterp.attribution.contract import check_inputs, examples_in
from jaxinterp.attribution.tokens import explained_at
from jaxinterp.checks import check_outside
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.objectives.seed import relevance_seed
from jaxinterp.rules.any_site import Gradient
from jaxinterp.rules.presets import Rules, as_composite
from jaxinterp.rules.rule import Rule, total
from jaxinterp.table import cell, format_table, html_table
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.facts.flow import active_values
from jaxinterp.tracing.facts.roles import Role
from jaxinterp.tracing.graph import Graph, Node
from jaxinterp.tracing.layer.layer import Layer
from jaxinterp.tracing.program.program import Value
from jaxinterp.tracing.with_rules import Meter, rule_changes
from jaxinterp.types import ApplyFn, Sites

_COLUMNS = 4  # received, handed on, bias, stabilizer


@dataclasses.dataclass(frozen=True)
class Entry:
    """One site of a ledger. All sums are over the batch, in units of the score.

    Attributes:
        site: the address of the site.
        rule: the rule of the site, or its derivative where it has none.
        received: the relevance of its output.
        handed_on: the relevance that its inputs got from it.
        bias: the relevance that its bias kept, or a constant that it joins to its
            inputs.
        stabilizer: the relevance that the stabilizer of its denominator kept.
    """

    site: str
    rule: str
    received: float
    handed_on: float
    bias: float
    stabilizer: float

    @property
    def unexplained(self) -> float:
        """What is missing: 0 for a rule that conserves relevance."""
        return self.received - self.handed_on - self.bias - self.stabilizer


@dataclasses.dataclass(frozen=True)
class Ledger:
    """What every site received, handed on and kept in one backward pass.

    Attributes:
        entries: the sites, in network order.
        score: the relevance that the outputs started with.
        attributed: the relevance that the inputs (or the activation at a site) got.
    """

    entries: tuple[Entry, ...]
    score: float
    attributed: float

    @property
    def absorbed(self) -> float:
        """What biases and stabilizers kept."""
        return sum(entry.bias + entry.stabilizer for entry in self.entries)

    @property
    def unexplained(self) -> float:
        """What rules that do not conserve have added or lost."""
        return sum(entry.unexplained for entry in self.entries)

    @property
    def error(self) -> float:
        """How much of the sum is missing, relative to the score.

        Missing is what of the score has reached neither the inputs nor the formulas of
        biases and stabilizers. `unexplained` says at which sites it was lost or made,
        and `leak` where most of it was.
        """
        rest = abs(self.score - self.attributed - self.absorbed)
        return rest / abs(self.score) if self.score else rest

    @property
    def leak(self) -> str | None:
        """The site where most relevance was lost or made, `None` if none was."""
        worst = max(self.entries, key=lambda e: abs(e.unexplained), default=None)
        return worst.site if worst is not None and worst.unexplained else None

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                e.site,
                e.rule,
                *(
                    cell(value, ".5g", undefined="NaN")
                    for value in (
                        e.received,
                        e.handed_on,
                        e.bias,
                        e.stabilizer,
                        e.unexplained,
                    )
                ),
            )
            for e in self.entries
        ]

    def __str__(self) -> str:
        table = format_table(_HEAD, self._cells(), right=(2, 3, 4, 5, 6))
        return (
            f"{table}\nscore {self.score:.6g} = inputs {self.attributed:.6g} "
            f"+ kept {self.absorbed:.6g} + unexplained {self.unexplained:.6g}; "
            f"error {self.error:.1e}"
            + (f", most at {self.leak!r}" if self.leak is not None else "")
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(_HEAD, self._cells())


_HEAD = (
    *("site", "rule", "received", "handed on"),
    *("bias", "stabilizer", "unexplained"),
)


def ledger(
    apply_fn: ApplyFn,
    composite: Rules,
    variables: Any,
    inputs: Any,
    target: Any = None,
    *,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Ledger:
    """Measures a relevance pass: what each site received, handed on and kept.

    What a bias or stabilizer keeps is computed by a formula of its own, not as what is
    missing; so the sums agree only if the rules do what they say.

    Args:
        apply_fn: the model.
        composite: which site gets which rule: a composite, a list of pairs `(selector,
            rule)`, or the name of a preset, such as `"epsilon_plus"`.
        variables: the weights of the model.
        inputs: a batch of the model's inputs.
        target: what the score needs beside the outputs, such as class indices.
        score: which number per example is explained: a score of the outputs or its
            name, or an objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs
            no target.
        at: one site, such as the embedding of tokens; the ledger is then that of the
            way from the outputs to its activation. The inputs by default.

    Returns:
        A printable `Ledger`, summed over the batch.

    Raises:
        TypeError: under `jit`, or another transformation.
        ValueError: if `at` matches several sites, or one that the score does not
            depend on.

    Example:
        >>> from jaxinterp.rules import epsilon_plus
        >>> w = {"w": jnp.array([[1.0], [2.0]]), "b": jnp.array([[3.0]])}
        >>> sums = ledger(lambda w, x: x @ w["w"] + w["b"], epsilon_plus(0.0), w,
        ...               jnp.ones((1, 2)), jnp.array([0]))
        >>> [round(v, 4) for v in (sums.score, sums.attributed, sums.absorbed)]
        [6.0, 3.0, 3.0]
    """
    call = "ledger(apply_fn, jaxinterp.rules.epsilon_plus(), variables, inputs, target)"
    composite = as_composite(composite, call)
    model, score_fn = explained(apply_fn, score)
    at = explained_at(model, variables, inputs, at)
    check_inputs(inputs, at, variables)
    check_outside("ledger", "returns numbers to read", variables, inputs, target)
    if at is None:
        traced = trace_call(model, variables, inputs)
        shapes = {value: value.shape for value in traced.inputs}
    else:
        traced, sites = trace_to_sites(model, variables, inputs, at)
        site = the_only_site(sites, at, "ledger")
        shapes = {site.value: site.shape}
    graph, program = traced.graph, traced.graph.program
    rules = composite.resolve(graph)
    nodes = _measurable(graph, active_values(program, shapes))
    meters = {n: Meter(n.flow.program, (_COLUMNS,), _widest()) for n in nodes}
    changes = rule_changes(rules, meters, _gauge)
    values = [*shapes, *meters.values()]
    probes = [jnp.zeros(shape, value.dtype) for value, shape in shapes.items()]
    probes += [jnp.zeros((*_steps(graph, n), _COLUMNS), _widest()) for n in nodes]
    outputs = [jnp.zeros(o.shape, o.dtype) for o in program.outputs]
    outputs = jax.tree.unflatten(traced.out_tree, outputs)
    batch = examples_in(inputs)
    # Here the target is still concrete, and what is wrong with it is an error.
    checked_seed(relevance_seed, score_fn, outputs, target, batch)
    if at is not None:
        check_path(traced, shapes, score_fn, target, at)

    @jax.jit  # for the sums alone: compiling every operation apart takes longer
    def measure(operands: tuple[Any, ...], target: Any) -> tuple[Any, Any, Any]:
        def run(probes: list[Any]) -> Any:
            call = dataclasses.replace(traced, operands=operands)
            readings: dict[Value, Any] = dict(zip(values, probes, strict=True))
            return call.run(changes, readings)[0]

        outputs, pull = jax.vjp(run, probes)
        seed = checked_seed(relevance_seed, score_fn, outputs, target, batch)
        (received,) = pull(seed)
        attributed, readings = received[: len(shapes)], received[len(shapes) :]
        return _total(seed), _total(attributed), readings

    return _write(nodes, rules, *measure(traced.operands, target))


def _total(tree: Any) -> Any:
    """The sum of all real numbers of a pytree."""
    leaves = jax.tree.leaves(tree)
    real = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return sum(jnp.sum(leaf.astype(_widest())) for leaf in real)


def _widest() -> Any:
    """The dtype of the sums: float64 where it is enabled, float32 otherwise."""
    return jnp.result_type(float)


def _measurable(graph: Graph, active: frozenset[Value]) -> list[Node]:
    """The nodes with an entry, among those after what is explained."""
    return [
        n
        for n in graph.nodes
        if n.role != "loop"
        and any(v.is_inexact and v in active for v in n.inputs)
        and all(o.is_inexact for o in n.outputs)
        and len(n.outputs) == 1
    ]


def _steps(graph: Graph, node: Node) -> tuple[int, ...]:
    for site in graph.sites.values():
        if site.node is node:
            return site.length
    return ()


def _gauge(rule: Any, layer: Layer, relevance: Any, received: tuple[Any, ...]) -> Any:
    bias, stabilizer = (rule if rule is not None else Gradient()).absorbed(
        layer, relevance
    )
    if rule is None and layer.node.role is Role.INDEXING:
        bias = _to_constants(layer, relevance)
    dtype = _widest()
    received_there = total(relevance).astype(dtype)
    to_inputs = sum(
        total(r).astype(dtype)
        for r, x in zip(received, layer.inputs, strict=True)
        if jnp.issubdtype(x.dtype, jnp.inexact)
    )
    sums = (received_there, to_inputs, bias, stabilizer)
    return jnp.stack([jnp.asarray(jnp.real(value), dtype) for value in sums])


def _to_constants(layer: Layer, relevance: Any) -> Any:
    """The relevance of what a move joins to its inputs: padding, a class token."""

    def output_of(number: float) -> Any:
        inputs = [
            jnp.full_like(x, number) if jnp.issubdtype(x.dtype, jnp.inexact) else x
            for x in layer.inputs
        ]
        return layer(*inputs)

    one, zero = output_of(1.0), output_of(0.0)
    moved = jnp.where(one == zero, 0, one - zero)  # constants may be infinite
    return total(relevance * (1 - moved)).astype(_widest())


def _write(
    nodes: list[Node],
    rules: Mapping[Node, Rule | None],
    score: Any,
    attributed: Any,
    readings: list[Any],
) -> Ledger:
    entries = []
    for node, reading in zip(nodes, readings, strict=True):
        columns = np.asarray(reading).reshape(-1, _COLUMNS).sum(axis=0)
        rule = rules.get(node)
        if rule is None and node.is_structural and columns[0] == columns[1]:
            continue
        name = str(rule) if rule is not None else "Gradient()"
        entries.append(Entry(node.address, name, *(float(c) for c in columns)))
    return Ledger(tuple(entries), float(score), float(attributed))
