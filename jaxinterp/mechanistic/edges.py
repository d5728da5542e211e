r"""Edges: the effect of what one place of a network sends to another directly.

A *source* is a part of an activation, a *destination* another. The edge from $u$ to $v$
is what $v$ reads of $u$ along all paths that pass no other named site. Each edge has a
mask $M_{vu}$ of its own:

$$v(M) = f_v\big(\{\,(1 - M_{vu})\,z_u(M) + M_{vu}\,\bar z_u\,\}_u\big)$$

Here $f_v$ is what the network computes between the named sites before $v$ and $v$
itself, run once more for each destination; $z_u(M)$ is the activation of the source,
which the masks before it have changed already; and $\bar z_u$ is what takes its place,
the activation on the corrupted inputs. If $f_v$ is a sum, as in a residual stream, this
is $v(M) = \sum_u z_u + M_{vu}\,(\bar z_u - z_u)$. With all masks at 1, and sources that
every path from the inputs passes, the run is the corrupted one.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxinterp.checks import check_outside, checked_integer
from jaxinterp.mechanistic.interchange import (
    Ablation,
    Interchange,
    Method,
    effects,
    residual,
)
from jaxinterp.mechanistic.parts import Divided, Places, as_pairs, divided_sites
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.pytree import pytree, static
from jaxinterp.table import format_table
from jaxinterp.tracing.graph import Graph
from jaxinterp.tracing.program.evaluate import Changes, Replacement, evaluate_part
from jaxinterp.tracing.program.program import Program, Value
from jaxinterp.types import ApplyFn, Inputs, Target, Variables


@pytree
class Edges:
    """The effect of each edge.

    Attributes:
        effects: the effect of each edge on the score of each example, corrupted minus
            clean, `(batch, edges)`.
        clean: the score of the clean run, `(batch,)`.
        corrupted: the score with all edges exchanged, `(batch,)`.
        names: the source and the destination of each edge.
    """

    effects: Any
    clean: Any
    corrupted: Any
    names: tuple[tuple[str, str], ...] = static()

    @property
    def residual(self) -> Any:
        """What the effects add up to beyond `corrupted - clean`, `(batch,)`.

        It tends to 0 for `method="integrated"` as the number of steps grows. For the
        other methods there is no such identity, and it says how far the effects are
        from acting one by one.
        """
        return residual(self.effects, self.clean, self.corrupted)

    @property
    def by_name(self) -> dict[tuple[str, str], Any]:
        """The effects `(batch,)` of each pair of a source and a destination."""
        return dict(zip(self.names, self.effects.T, strict=True))

    def top(self, count: int) -> Any:
        """Returns which edges have the largest effects, as a mask `(edges,)`.

        The size of an effect is the mean over the examples of its absolute value, so
        that effects of different signs do not cancel. Effects below a millionth of the
        largest count as none, and are never among the top: rounding has no rank.

        Args:
            count: the number of edges, of which fewer may have an effect.

        Raises:
            ValueError: if `count` is no integer from 0 to the number of edges.
        """
        count = checked_integer("count", count, 0, call="top")
        n_edges = len(self.names)
        if count > n_edges:
            raise ValueError(f"top: `count` is {count}, and there are {n_edges} edges.")
        sizes = jnp.abs(self.effects).mean(axis=0)
        order = jnp.argsort(-sizes, stable=True)[:count]
        is_top = jnp.zeros(n_edges, bool).at[order].set(True)
        return is_top & (sizes > 1e-6 * sizes.max())

    def table(self, count: int = 10) -> str:
        """Returns the largest effects as text, the mean over the examples of each.

        Args:
            count: the largest number of rows.
        """
        check_outside("table", "shows numbers", self.effects)
        kept = self.top(min(count, len(self.names)))
        means, sizes = self.effects.mean(axis=0), jnp.abs(self.effects).mean(axis=0)
        order = [int(i) for i in jnp.argsort(-sizes, stable=True) if bool(kept[i])]
        rows = [(*self.names[i], f"{float(means[i]):.4g}") for i in order]
        return format_table(("source", "destination", "effect"), rows, right=(2,))


class MeasureEdges(Protocol):
    """A function that measures the effect of each edge between two batches."""

    def __call__(
        self,
        variables: Variables,
        clean: Inputs,
        corrupted: Inputs,
        target: Target = None,
    ) -> Edges:
        """Returns the effect of each edge on the score of each example."""
        ...


def edges(
    apply_fn: ApplyFn,
    *,
    sources: Places,
    destinations: Places,
    method: Method = "exact",
    steps: int = 30,
    score: Score | Objective | str = logit,
    ablation: Ablation | None = None,
    batch_size: int | None = None,
) -> MeasureEdges:
    r"""Measures what each edge between parts of a network contributes to a score.

    $$e_{vu} = m(\mathbf 1_{vu}) - m(0), \qquad
      e_{vu} = \partial_{vu}\,m(0), \qquad
      e_{vu} = \int_0^1 \partial_{vu}\,m(t\,\mathbf 1)\,dt$$

    `method="exact"` exchanges one edge after another; `"gradient"` is edge attribution
    patching, $\partial_{vu}\,m(0) = (\bar z_u - z_u) \cdot \partial m / \partial
    \mathrm{in}_v$, which a saturated softmax hides all from; `"integrated"` averages
    the gradient while all masks grow together, and its effects add up to the whole
    effect. An effect is that of one edge alone: of two edges that can replace one
    another, neither has an exact effect.

    Every function between sources and a destination is computed for that destination,
    norms included: their scale feels the exchange. Cost: a run per edge (`"exact"`), a
    run and a backward pass (`"gradient"`), `steps` of these (`"integrated"`); a run
    computes what lies between the sites again for each destination. Memory grows with
    `batch_size`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        sources: the sites that edges start from: an address, a glob or a selector,
            several of them, or a mapping from these to the axes along which activations
            are divided, such as `{"residual": None, "blocks_*/attention/heads": 2}`.
        destinations: the sites where edges end, in the same form; for a transformer
            queries, keys and values by head, what MLPs read, and the logits.
        method: how effects are measured, see above.
        steps: the number of gradients of `"integrated"`, at the middles of intervals.
        score: which number per example is measured: a score of the outputs, or an
            objective.
        ablation: a function from the activation on the corrupted inputs to what takes
            the place of the clean one, such as `jnp.zeros_like`; by default that
            activation itself.
        batch_size: the number of edges, or of gradients, computed at once; by default
            as many as exchange 16 MB of activations together.

    Returns:
        A function of the variables, the clean and the corrupted inputs, and the target,
        that returns `Edges`: effects in units of `score`, corrupted minus clean, one
        for each example.

    Raises:
        AddressError: when called, if no site matches.
        TypeError: if `score` or `ablation` is no function, or axes are no integers.
        ValueError: if there is no such `method`, or a number is not positive; when
            called, if no destination reads a source, a site is in a loop, an axis does
            not exist, or clean and corrupted inputs differ in shape.

    Example:
        >>> from jaxinterp.objectives import total
        >>> def model(w, x):
        ...     hidden = jnp.tanh(x)
        ...     return jnp.tanh(hidden @ w["left"]) + jnp.tanh(hidden @ w["right"])
        >>> w = {"left": jnp.array([[1.0]]), "right": jnp.array([[2.0]])}
        >>> clean, corrupted = jnp.zeros((1, 1)), jnp.ones((1, 1))
        >>> measure = edges(
        ...     model, sources="tanh", destinations=["left", "right"], score=total)
        >>> result = measure(w, clean, corrupted)
        >>> print(result.table())
        source  destination  effect
        ---------------------------
        tanh    right        0.9093
        tanh    left          0.642
        >>> [round(value, 3) for value in result.residual.tolist()]
        [0.0]

    References:
        Conmy et al., 2023, on exchanging edges [conmy2023towards]; Syed et al., 2023,
        on edge attribution patching [syed2023attribution]; Hanna et al., 2024
        [hanna2024faith], who integrate over the inputs, where here the masks grow. All
        of them have the graphs of transformers alone.
    """
    interchange = Interchange.of(
        apply_fn, score, edge_plan(sources, destinations), ablation
    )
    measured = effects(
        interchange, "edges", method=method, steps=steps, batch_size=batch_size
    )

    def measure(
        variables: Variables, clean: Inputs, corrupted: Inputs, target: Target = None
    ) -> Edges:
        plan, context = interchange.start(variables, clean, corrupted, target)
        assert isinstance(plan, EdgePlan)
        return Edges(*measured(context), names=plan.names)

    return measure


# --- Which edges there are, and how they are exchanged --------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Cone:
    """What lies between the named sites before a destination and that destination.

    Attributes:
        destination: the destination.
        equations: the indices of the equations that compute it from those sites.
        pinned: the values of the named sites that these equations read.
        sources: the numbers of the sources among them.
    """

    destination: Divided
    equations: tuple[int, ...]
    pinned: frozenset[Value]
    sources: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class EdgePlan:
    """Which edges a model has.

    Attributes:
        program: the program of the model.
        sources: the sites that edges start from.
        cones: what lies before each destination that reads a source.
    """

    program: Program
    sources: tuple[Divided, ...]
    cones: tuple[Cone, ...]

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """The source and the destination of each edge."""
        return tuple(
            (source, destination)
            for cone in self.cones
            for destination in cone.destination.names
            for number in cone.sources
            for source in self.sources[number].names
        )

    @property
    def count(self) -> int:
        """The number of edges."""
        return sum(map(self._n_edges, self.cones))

    def _n_edges(self, cone: Cone) -> int:
        return cone.destination.count * self._n_sources(cone)

    def _n_sources(self, cone: Cone) -> int:
        return sum(self.sources[number].count for number in cone.sources)

    def changes(self, others: tuple[Any, ...], mask: Any) -> Changes:
        """Returns what a run with masks does differently.

        Args:
            others: what takes the place of the activation of each source.
            mask: the mask of each edge, `(batch, edges)`.
        """
        ends = list(itertools.accumulate(map(self._n_edges, self.cones)))
        masks = jnp.split(mask, ends[:-1], axis=1)
        producer = producers(self.program)
        replaced = {
            (self.program, producer[cone.destination.value]): self._recomputed(
                cone, others, of_cone
            )
            for cone, of_cone in zip(self.cones, masks, strict=True)
        }
        read = frozenset(value for cone in self.cones for value in cone.pinned)
        return Changes(captures=read, replaced=replaced)

    def _recomputed(
        self, cone: Cone, others: tuple[Any, ...], mask: Any
    ) -> Replacement:
        """What runs instead of the last equation before a destination."""
        destination, n_sources = cone.destination, self._n_sources(cone)
        mask = mask.reshape(mask.shape[0], destination.count, n_sources)
        sizes = [self.sources[number].count for number in cone.sources]
        starts = list(itertools.accumulate(sizes))[:-1]
        last = self.program.equations[cone.equations[-1]]

        def activation(env: Mapping[Value, Any], rows: Any) -> dict[Value, Any]:
            pinned = {value: env[value] for value in cone.pinned}
            shares = jnp.split(rows, starts, axis=1)
            for number, share in zip(cone.sources, shares, strict=True):
                source = self.sources[number]
                own = env[source.value]
                pinned[source.value] = source.mixed(own, others[number], share)
            edits = {v: _always(array) for v, array in pinned.items()}
            return evaluate_part(
                self.program, cone.equations, {**env, **pinned}, Changes(edits=edits)
            )

        def replacement(env: Mapping[Value, Any]) -> Sequence[Any]:
            value = destination.value
            if destination.axes:
                each = jax.vmap(lambda rows: activation(env, rows)[value], in_axes=1)
                result = destination.each_of_its_own(each(mask))
            else:
                result = activation(env, mask[:, 0])[value]
            if len(last.outputs) == 1:
                return [result]
            plain = evaluate_part(self.program, cone.equations[-1:], env)
            return [result if o is value else plain[o] for o in last.outputs]

        return replacement


def _always(array: Any) -> Callable[[Any], Any]:
    return lambda activation: array


def producers(program: Program) -> dict[Value, int]:
    """Returns the index of the equation that computes each value.

    Args:
        program: the program of the equations.
    """
    return {o: i for i, e in enumerate(program.equations) for o in e.outputs}


def edge_plan(
    sources: Places, destinations: Places
) -> Callable[[Graph, int], EdgePlan]:
    """Returns a function that finds the edges of a graph for a number of examples.

    Args:
        sources: the sites that edges start from, see `edges`.
        destinations: the sites where edges end.

    Raises:
        TypeError: if one of them is no site, or axes are no integers.
        ValueError: if there are none; when called, if no destination reads a source.
    """
    pairs = as_pairs("sources", sources), as_pairs("destinations", destinations)

    def plan(graph: Graph, n_examples: int) -> EdgePlan:
        starts, ends = (divided_sites(graph, each, n_examples) for each in pairs)
        named = frozenset(part.value for part in (*starts, *ends))
        cones = tuple(
            cone
            for destination in ends
            if (cone := _cone(graph.program, destination, starts, named)).sources
        )
        if not cones:
            raise ValueError(
                "No destination reads a source. Sources: "
                f"{_listed(starts)}. Destinations: {_listed(ends)}.\nA destination "
                "lies after its sources, with no other named site on the way."
            )
        return EdgePlan(graph.program, starts, cones)

    return plan


def _cone(
    program: Program,
    destination: Divided,
    sources: Sequence[Divided],
    named: frozenset[Value],
) -> Cone:
    producer = producers(program)
    equations: set[int] = set()
    pinned: set[Value] = set()
    todo = [destination.value]
    while todo:
        index = producer.get(todo.pop())
        if index is None or index in equations:
            continue
        equations.add(index)
        for value in program.equations[index].values:
            (pinned.add if value in named else todo.append)(value)
    numbers = tuple(i for i, source in enumerate(sources) if source.value in pinned)
    return Cone(destination, tuple(sorted(equations)), frozenset(pinned), numbers)


def _listed(parts: Sequence[Divided]) -> str:
    addresses = [repr(part.site.address) for part in parts]
    return ", ".join(addresses[:4]) + (", ..." if len(addresses) > 4 else "")
