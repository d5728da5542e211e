"""The plan: a printable table of which rule each site gets, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxinterp.rules.any_site import Gradient
from jaxinterp.rules.composite import PICKING, Composite, check_composite, needs_rule
from jaxinterp.rules.rule import Rule
from jaxinterp.table import format_table, html_table
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.graph import Node
from jaxinterp.types import ApplyFn


@dataclasses.dataclass(frozen=True)
class PlanRow:
    """One site of a plan.

    Attributes:
        site: its address, with those of modules whose output it is.
        role: what it does.
        rule: the rule that it gets, `None` if no line matches.
        chosen_by: the line that chose the rule, or why there is none.
    """

    site: str
    role: str
    rule: Rule | None
    chosen_by: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which rule every site gets, and which line of the composite chose it.

    Attributes:
        rows: the sites that need a rule, in network order.
    """

    rows: tuple[PlanRow, ...]

    @property
    def coverage(self) -> float:
        """The share of sites with a rule that is more than the plain derivative.

        Sites that only pick entries, such as max pooling, count as covered by it.
        """
        if not self.rows:
            return 1.0
        return sum(map(_is_covered, self.rows)) / len(self.rows)

    @property
    def uncovered(self) -> tuple[PlanRow, ...]:
        """The sites without a rule, or with nothing but the plain derivative."""
        return tuple(row for row in self.rows if not _is_covered(row))

    def _cells(self) -> list[tuple[str, str, str, str]]:
        return [
            (row.site, row.role, str(row.rule or "none"), row.chosen_by)
            for row in self.rows
        ]

    def __str__(self) -> str:
        table = format_table(("site", "role", "rule", "chosen by"), self._cells())
        return f"{table}\ncoverage {self.coverage:.3f} of {len(self.rows)} sites"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(("site", "role", "rule", "chosen by"), self._cells())


def _is_covered(row: PlanRow) -> bool:
    if row.rule is None:
        return False
    return not isinstance(row.rule, Gradient) or row.role in PICKING


def plan(
    apply_fn: ApplyFn,
    composite: Composite,
    variables: Any,
    inputs: Any,
    *args: Any,
    **kwargs: Any,
) -> Plan:
    """Resolves a composite against a model, and says which rule every site gets.

    Nothing is computed, and sites without a rule are listed rather than an error.

    Args:
        apply_fn: the model.
        composite: which site gets which rule.
        variables: its weights.
        inputs: a batch.
        *args: passed on to `apply_fn`.
        **kwargs: passed on to `apply_fn`.

    Returns:
        A printable `Plan`; `.coverage` is the share of sites that have a rule.

    Raises:
        CompositeError: if `composite` is none.

    Example:
        >>> from jaxinterp.rules import epsilon_plus
        >>> table = plan(lambda w, x: jax.nn.relu(x @ w["w"]), epsilon_plus(),
        ...              {"w": jnp.ones((3, 2))}, jnp.ones((1, 3)))
        >>> [(row.site, str(row.rule)) for row in table.rows]
        [('w', 'Epsilon()'), ('relu', 'Pass()')]
        >>> table.coverage
        1.0
    """
    check_composite(
        composite, "plan(apply_fn, jaxinterp.rules.epsilon_plus(), variables, inputs)"
    )
    graph = trace_call(apply_fn, variables, inputs, *args, **kwargs).graph
    rows = []
    for node in graph.nodes:
        if not needs_rule(node):
            continue
        index = composite.choose(node)
        if index is None:
            rule, reason = None, f"no line matches role {node.role}"
        else:
            selector, rule = composite.lines[index]
            reason = f"line {index + 1}: {selector}"
        site = " + ".join([node.address, *_fused(node)])
        rows.append(PlanRow(site, str(node.role), rule, reason))
    return Plan(tuple(rows))


def _fused(node: Node) -> list[str]:
    """The modules that an affine map takes in beside its own, such as a batch norm."""
    if node.kernel is None:
        return []
    own = [m for m in node.modules if not node.address.startswith(f"{m}/")]
    return [module.rsplit("/", 1)[-1] for module in own]
