"""Composites: which site gets which rule, resolved to a table before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jax.extend.core import primitives as p

from jaxinterp.rules.any_site import Gradient
from jaxinterp.rules.rule import Rule
from jaxinterp.tracing.compat import existing
from jaxinterp.tracing.errors import AddressError, NoDerivativeError
from jaxinterp.tracing.facts.batch_axis import mixing_equation
from jaxinterp.tracing.facts.roles import Role, is_opaque
from jaxinterp.tracing.graph import Graph, Node
from jaxinterp.tracing.selectors import And, At, Not, Or, Selector, as_selector
from jaxinterp.types import Sites

# Sites that only pick among entries: their derivative conserves relevance.
PICKING = (Role.MAX_POOL, Role.SELECTION)


class UnmatchedSiteError(NotImplementedError):
    """Relevance reaches a site that no line of the composite matches."""

    def __init__(self, unmatched: list[Node], composite: Composite, graph: Graph):
        node = unmatched[0]
        names = ", ".join(sorted(p.name for p in node.primitives))
        others = len(unmatched) - 1
        more = f" ({others} more like it)" if others else ""
        super().__init__(
            f"No line of the composite matches {node.address!r}{more}: role "
            f"{node.role}, primitive {names},\nat {node.line}.\n"
            f"{_lines_for(node)}"
            f"{_of_batch(node, graph)}"
            f"The composite has: {', '.join(str(s) for s, _ in composite.lines)}."
        )


def _lines_for(node: Node) -> str:
    """Which lines a composite may get for a site that none of its lines matches."""
    rule = "FixedStatistics" if node.statistics else "Norm"
    own, kernel = f"jaxinterp.rules.{rule}()", ""
    if any(map(is_opaque, node.primitives)):
        kernel = (
            "It runs a kernel, which cannot be looked into. To explain it in parts, "
            "let JAX compute the same itself,\nby the argument that chooses, such as "
            "`jax.nn.dot_product_attention(..., implementation='xla')`.\n"
        )
        if not _has_own_derivative(node):
            return (
                f"{kernel}Or say how relevance goes through it, by a rule of your own, "
                "for it has no derivative:\n"
                f"    [({node.address!r}, YourRule())] + composite\n"
            )
    return (
        f"{kernel}Say how relevance goes through it, in front of the composite:\n"
        f"    [({node.address!r}, {own})] + composite\n"
        "or give all that is left its plain derivative, which conserves nothing:\n"
        "    composite + [('*', jaxinterp.rules.Gradient())]\n"
    )


def _has_own_derivative(node: Node) -> bool:
    """Whether a node is in a call with a derivative that the user wrote."""
    at, calls = node.equations[-1], node.flow.program.calls
    return any(c.has_own_derivative and c.start <= at < c.stop for c in calls)


def _of_batch(node: Node, graph: Graph) -> str:
    """What to say of a site that reads what was computed of the whole batch."""
    flow = graph.flows[graph.program]
    sizes = {v.shape[0] for v in graph.program.inputs if v in flow.active and v.shape}
    if node.flow is not flow or len(sizes) != 1 or sizes == {1}:
        return ""
    mixing = mixing_equation(flow, node.outputs[0], *sizes)
    if mixing is None:
        return ""
    return (
        "It depends on the batch as a whole, through "
        f"`{mixing.primitive.name}` at {mixing.line}.\nIf that is a batch norm in "
        "training mode, explain the model as it predicts:\n"
        "    functools.partial(model.apply, train=False)\n"
    )


class HiddenActivationError(NotImplementedError):
    """A rule is for activations, and one of them is spelled apart in a product."""

    def __init__(self, node: Node, rule: Rule):
        super().__init__(
            f"{node.address!r} ({node.line})\nmultiplies an activation, its input and "
            f"something else, so that {rule} would not see the activation whole.\n"
            "Write the activation first: `jax.nn.silu(a) * b` instead of "
            "`jax.nn.sigmoid(a) * b * a`,\nand `jax.nn.relu(a) * b` instead of "
            "`jnp.where(a > 0, a * b, 0)`. Or name that site, to keep its derivative:\n"
            f"    [({node.address!r}, jaxinterp.rules.Gradient())] + composite"
        )


class SeveralResultsError(NotImplementedError):
    """A composite gives a rule to a site with several results, such as a split."""

    def __init__(self, node: Node, rule: Rule | None):
        super().__init__(
            f"{node.address!r} ({node.line})\nhas {len(node.outputs)} results, and "
            f"{rule} knows how to go back from one.\n"
            f"Give that site its derivative, `(at({node.address!r}), Gradient())`, in "
            "front of the line that chose this rule."
        )


@dataclasses.dataclass(frozen=True, init=False)
class Composite:
    """An ordered list of `(selector, rule)`; the first that matches a site is taken.

    Sites that only move entries about (reshapes, slices, concatenation, casts) need no
    line: their derivative moves relevance back. Composites add up, also with a list of
    lines; the lines of the left one come first.

    Attributes:
        lines: the pairs of selector and rule, in the order in which they are tried.

    Raises:
        TypeError: if a line is not a pair of a selector (or glob) and a rule.

    Example:
        >>> from jaxinterp.rules import Epsilon, Pass
        >>> print(Composite([("head", Epsilon(0.1)), ("*", Pass())]))
        1  at('head')  Epsilon(epsilon=0.1)
        2  at('*')     Pass()
    """

    lines: tuple[tuple[Selector, Rule], ...]

    def __init__(self, lines: Iterable[tuple[Sites, Rule]]):
        pairs = []
        for line in lines:
            if not (isinstance(line, tuple) and len(line) == 2):
                raise TypeError(
                    f"A line of a composite is a pair (selector, rule), not {line!r}."
                )
            selector, rule = line
            if not isinstance(rule, Rule):
                raise TypeError(
                    f"A line of a composite ends in a rule, and {rule!r} is none.\n"
                    "Write an instance, such as `jaxinterp.rules.Epsilon()`. A rule of "
                    "your own derives from `jaxinterp.rules.Rule`."
                )
            pairs.append((as_selector(selector), rule))
        object.__setattr__(self, "lines", tuple(pairs))

    def __add__(self, other: Composite | Sequence[tuple[Sites, Rule]]) -> Composite:
        return Composite((*self.lines, *_lines(other)))

    def __radd__(self, other: Composite | Sequence[tuple[Sites, Rule]]) -> Composite:
        return Composite((*_lines(other), *self.lines))

    def __str__(self) -> str:
        width = max((len(str(s)) for s, _ in self.lines), default=0)
        return "\n".join(
            f"{i}  {str(selector).ljust(width)}  {rule}"
            for i, (selector, rule) in enumerate(self.lines, start=1)
        )

    def choose(self, node: Node) -> int | None:
        """Returns the index of the first line that matches a node, `None` if none does.

        Args:
            node: a node of a graph.
        """
        for index, (selector, _) in enumerate(self.lines):
            if node.is_structural and not _names(selector, node):
                continue
            if selector(node):
                return index
        return None

    def resolve(self, graph: Graph) -> dict[Node, Rule | None]:
        """Returns the rule of every node; with `None` it keeps its own derivative.

        Args:
            graph: a traced model.

        Raises:
            UnmatchedSiteError: if relevance reaches a site that no line matches.
            AddressError: if a line names an address that does not exist.
            HiddenActivationError: if a rule is for activations and a product hides one.
            SeveralResultsError: if a line gives a rule to a site of several results.
            NoDerivativeError: if no output has a derivative with respect to the input.
        """
        _check_derivative(graph)
        _check_calls(graph)
        lines = {node: self.choose(node) for node in graph.nodes}
        self.check_addresses(graph)
        unmatched = [n for n, i in lines.items() if i is None and needs_rule(n)]
        if unmatched:
            raise UnmatchedSiteError(unmatched, self, graph)
        self._check_products(lines)
        rules: dict[Node, Rule | None] = {}
        for node, index in lines.items():
            rule = self.lines[index][1] if index is not None else None
            rules[node] = None if isinstance(rule, Gradient) else rule
            if not _gets_relevance(node):
                rules[node] = None
            elif rules[node] is not None and len(node.outputs) > 1:
                raise SeveralResultsError(node, rule)
        return rules

    def _check_products(self, lines: Mapping[Node, int | None]) -> None:
        """Raises if a rule for activations would miss one that a product hides."""
        rule = next((r for _, r in self.lines if r.of_activations), None)
        if rule is None:
            return
        for node, index in lines.items():
            is_named = index is not None and _names(self.lines[index][0], node)
            if node.hides_activation and not is_named and not node.is_dead:
                raise HiddenActivationError(node, rule)

    def check_addresses(self, graph: Graph) -> None:
        """Raises if a line names an address that does not exist.

        Args:
            graph: a traced model.

        Raises:
            AddressError: with the nearest addresses of the model.
        """
        for selector in (a for line, _ in self.lines for a in _globs(line)):
            if selector.pattern != "*" and not any(map(selector, graph.nodes)):
                addresses = [a for n in graph.nodes for a in (n.address, *n.modules)]
                raise AddressError(selector, addresses)


def _lines(other: Any) -> Sequence[tuple[Sites, Rule]]:
    """The lines of what is added to a composite."""
    lines = other.lines if isinstance(other, Composite) else other
    if not isinstance(lines, list | tuple):
        raise TypeError(
            f"A composite adds up with another one or its lines, and {other!r} is "
            "neither.\nWrite `composite + [(selector, rule), ...]`."
        )
    return lines


def _check_derivative(graph: Graph) -> None:
    """Raises if all that the input does to the outputs goes through rounded steps."""
    flow = graph.flows[graph.program]
    carrying = flow.active if flow.carrying is None else flow.carrying
    active = [v for v in graph.program.outputs if v in flow.active and v.is_inexact]
    if not active or not carrying.isdisjoint(active):
        return
    ends = [
        equation
        for _, _, equation in graph.program.walk()
        if equation.outputs
        and not equation.bodies
        and any(v in carrying for v in equation.values)
        and carrying.isdisjoint(equation.outputs)
    ]
    if ends:
        raise NoDerivativeError(ends[-1].primitive.name, ends[-1].line)


_STEPWISE = {p.round_p, p.floor_p, p.ceil_p, *existing("stop_gradient_p")}


def _check_calls(graph: Graph) -> None:
    """Raises if a call has a derivative of its own that its equations would lose.

    A call of one result is a site; one of several is opened where a rule is inside.
    """
    for node in graph.nodes:
        if len(node.equations) > 1 or not node.primitives <= _STEPWISE:
            continue
        (index, equation), *_ = zip(node.equations, node.members, strict=True)
        around = [c for c in node.flow.program.calls if c.start <= index < c.stop]
        calls = [c for c in around if c.stop - c.start > 1]  # of one equation: a site
        outputs = {o for c in calls if c.has_own_derivative for o in c.equation.outputs}
        carrying = node.flow.carrying or node.flow.active
        is_read = not carrying.isdisjoint(equation.values)
        if is_read and not carrying.isdisjoint(outputs):
            raise NoDerivativeError(equation.primitive.name, equation.line)


def _globs(selector: Selector) -> list[At]:
    """The globs of which a selector is combined."""
    if isinstance(selector, At):
        return [selector]
    if isinstance(selector, And | Or):
        return _globs(selector.left) + _globs(selector.right)
    return _globs(selector.inner) if isinstance(selector, Not) else []


def _names(selector: Selector, node: Node) -> bool:
    return isinstance(selector, At) and selector.pattern in node.names


def needs_rule(node: Node) -> bool:
    """Whether relevance goes through a node in a way that a composite must state.

    Args:
        node: a node of a graph.
    """
    return not (node.is_dead or node.is_structural) and _gets_relevance(node)


def _gets_relevance(node: Node) -> bool:
    """Whether an input of a node can hold relevance, as a mask or a count cannot."""
    return any(v.is_inexact and node.flow.carries(v) for v in node.inputs)


# The derivative of every site; that of max pooling in a faster form.
DERIVATIVE = Composite([("*", Gradient())])
