"""`plan`: a printable table of which rule each site gets, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxinterp.rules.any_site import Gradient
from jaxinterp.rules.composite import PICKING, needs_rule
from jaxinterp.rules.presets import Rules, as_composite
from jaxinterp.rules.rule import Rule
from jaxinterp.table import format_table, html_table
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.graph import Node
from jaxinterp.types import ApplyFn, Inputs, Variables


@dataclasses.dataclass(frozen=True)
class PlanRow:
    """One site of a plan.

    Attributes:
        site: the address of the site, with the names of modules fused into it.
        role: what the site does, such as `"convolution"`.
        rule: the rule that the site gets, `None` if no line of the composite matches.
        chosen_by: the line of the composite that chose the rule, or why there is none.
    """

    site: str
    role: str
    rule: Rule | None
    chosen_by: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which rule every site gets, and which line of the composite chose it.

    Attributes:
        rows: one row for each site that needs a rule, in network order.
    """

    rows: tuple[PlanRow, ...]

    @property
    def coverage(self) -> float:
        """The share of sites with a rule other than the plain derivative, in [0, 1].

        At sites that only pick entries, such as max pooling, the derivative counts as
        a rule.
        """
        if not self.rows:
            return 1.0
        return sum(map(_is_covered, self.rows)) / len(self.rows)

    @property
    def uncovered(self) -> tuple[PlanRow, ...]:
        """The rows of sites without a rule, or with the plain derivative alone."""
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
    composite: Rules,
    variables: Variables,
    inputs: Inputs,
    *args: Any,
    **kwargs: Any,
) -> Plan:
    """Resolves a composite against a model, and says which rule every site gets.

    Nothing is computed. Sites without a rule are listed, and are no error here.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
        composite: which site gets which rule: a composite, a list of pairs `(selector,
            rule)`, or the name of a preset, such as `"epsilon_plus"`.
        variables: the weights of the model.
        inputs: a batch, an array or a pytree of arrays.
        *args: further arguments of the model.
        **kwargs: further named arguments of the model.

    Returns:
        A printable `Plan`; `.coverage` is the share of sites that have a rule.

    Raises:
        CompositeError: if `composite` is something else than a composite.
        AddressError: if a line names an address that does not exist.

    Example:
        >>> from jaxinterp.rules import epsilon_plus
        >>> table = plan(lambda w, x: jax.nn.relu(x @ w["w"]), epsilon_plus(),
        ...              {"w": jnp.ones((3, 2))}, jnp.ones((1, 3)))
        >>> [(row.site, str(row.rule)) for row in table.rows]
        [('w', 'Epsilon()'), ('relu', 'Pass()')]
        >>> table.coverage
        1.0
    """
    call = "plan(apply_fn, jaxinterp.rules.epsilon_plus(), variables, inputs)"
    composite = as_composite(composite, call)
    graph = trace_call(apply_fn, variables, inputs, *args, **kwargs).graph
    composite.check_addresses(graph)
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
    """The modules that are fused into a node, such as a batch norm."""
    own = [m for m in node.modules if not node.address.startswith(f"{m}/")]
    return [module.rpartition("/")[2] for module in own]
