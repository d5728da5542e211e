r"""What becomes of a score when parts of a run come from a run on corrupted inputs.

Each part $u$ of a run has a mask $M_u$: at 0 it is computed from the clean inputs $x$,
at 1 it is taken from a run on the corrupted inputs $x'$. The score is a function
$m(M)$, with $m(0)$ the score of the clean run. All effects have one sign, corrupted
minus clean, and one unit, that of the score:

$$e_u = m(\mathbf 1_u) - m(0) \quad\text{(exact)}, \qquad
  e_u = \partial_u m(0) \quad\text{(gradient)}, \qquad
  e_u = \int_0^1 \partial_u m(t\,\mathbf 1)\,dt \quad\text{(integrated)}$$

Integrated effects add up to $m(\mathbf 1) - m(0)$. What the others miss of it is their
`residual`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_choice, checked_integer, is_integer, is_staged
from jaxinterp.loop.chunks import even_size, over_units, within_budget
from jaxinterp.loop.static import StaticPart, static_and_arrays
from jaxinterp.loop.sums import summed
from jaxinterp.mechanistic.parts import Divided
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, check_score
from jaxinterp.tracing.call import Traced, check_arrays, trace_call
from jaxinterp.tracing.graph import Graph
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.types import ApplyFn, Inputs, Target, Variables

Method = Literal["exact", "gradient", "integrated"]

# From the activation of the corrupted run to what takes the place of the clean one.
Ablation = Callable[[Any], Any]


class Plan(Protocol):
    """What of a traced model is exchanged."""

    @property
    def sources(self) -> tuple[Divided, ...]:
        """The sites whose parts are exchanged."""
        ...

    @property
    def count(self) -> int:
        """The number of masks for an example."""
        ...

    def changes(self, others: tuple[Any, ...], mask: Any) -> Changes:
        """Returns what a run does differently than the clean one.

        Args:
            others: what takes the place of the activation of each source.
            mask: how much of each part is exchanged, `(batch, count)`.
        """
        ...


class Context(NamedTuple):
    """What a run with masks needs to know.

    Attributes:
        variables: the weights of the model.
        clean: the clean inputs.
        others: what takes the place of the activation of each source.
        target: what the score needs beside the outputs, such as class indices.
        count: the number of masks for an example.
    """

    variables: Any
    clean: Any
    others: tuple[Any, ...]
    target: Any
    count: int

    @property
    def n_examples(self) -> int:
        """The number of examples in the batch."""
        return jax.tree.leaves(self.clean)[0].shape[0]


class Effects(NamedTuple):
    """The effect of each mask, and the scores at both ends.

    Attributes:
        effects: the effect of each mask, `(batch, count)`.
        clean: the score of the clean run, `(batch,)`.
        corrupted: the score with every part exchanged, `(batch,)`.
    """

    effects: Any
    clean: Any
    corrupted: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Interchange:
    """A model in which parts of a run are exchanged.

    Attributes:
        model: the model, which returns what the score reads.
        score: a function of what the model returns and of the target.
        plan: a function from a graph and the number of examples to what is exchanged.
        ablation: a function of the corrupted activation that returns what takes the
            place of the clean one; `None` for that activation itself.
    """

    model: ApplyFn
    score: Score
    plan: Callable[[Graph, int], Plan]
    ablation: Ablation | None

    @classmethod
    def of(
        cls,
        apply_fn: ApplyFn,
        score: Score | Objective | str,
        plan: Callable[[Graph, int], Plan],
        ablation: Ablation | None,
    ) -> Interchange:
        """Returns the interchange of a model whose score may be an objective.

        Args:
            apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
            score: a score of the outputs, or an objective.
            plan: a function from a graph and the number of examples to what is
                exchanged.
            ablation: a function of the corrupted activation, or `None`.

        Raises:
            TypeError: if `score` or `ablation` is no function.
        """
        if ablation is not None and not callable(ablation):
            raise TypeError(
                "`ablation` is a function from the corrupted activation to what takes "
                f"the place of the clean one, and was {ablation!r}.\n"
                "Write for example `ablation=jnp.zeros_like`."
            )
        return cls(*explained(apply_fn, score), plan, ablation)

    def start(
        self, variables: Variables, clean: Inputs, corrupted: Inputs, target: Target
    ) -> tuple[Plan, Context]:
        """Returns what is exchanged, and what takes its place.

        Args:
            variables: the weights of the model.
            clean: the clean inputs.
            corrupted: the corrupted inputs, of the same shapes.
            target: what the score needs beside the outputs, such as class indices.

        Raises:
            ValueError: if the inputs differ in shape or dtype, or have no batch; if an
                ablation changes the shape of an activation.
        """
        n_examples = _check_alike(clean, corrupted)
        target = jax.tree.map(lambda t: jnp.asarray(t) if is_integer(t) else t, target)
        traced = trace_call(self.model, variables, clean)
        plan = self.plan(traced.graph, n_examples)
        values = [part.value for part in plan.sources]
        outputs, arrays = _with_inputs(traced, corrupted).run(
            Changes(captures=frozenset(values))
        )
        check_score(self.score(outputs, target), n_examples, self.score)
        others = tuple(self._ablated(part, arrays[part.value]) for part in plan.sources)
        return plan, Context(variables, clean, others, target, plan.count)

    def _ablated(self, part: Divided, activation: Any) -> Any:
        if self.ablation is None:
            return activation
        made = self.ablation(activation)
        if getattr(made, "shape", None) != activation.shape:
            found = getattr(made, "shape", type(made).__name__)
            raise ValueError(
                f"`ablation` returned the shape {found} for the activation at "
                f"{part.site.address!r}, which has {activation.shape}.\nWrite for "
                "example `lambda a: jnp.broadcast_to(a.mean(0, keepdims=True), a.shape)"
                "`."
            )
        return jnp.asarray(made, activation.dtype)

    def scores(self, context: Context, mask: Any) -> Any:
        """Returns the score of each example, $m(M)$.

        Args:
            context: what the run needs to know.
            mask: how much of each part is exchanged, `(batch, count)`.
        """
        traced = trace_call(self.model, context.variables, context.clean)
        plan = self.plan(traced.graph, context.n_examples)
        outputs, _ = traced.run(plan.changes(context.others, mask))
        values = self.score(outputs, context.target)
        return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def _with_inputs(traced: Traced, inputs: Inputs) -> Traced:
    """A traced call with other inputs of the same shapes."""
    new = dict(zip(traced.inputs, jax.tree.leaves(inputs), strict=True))
    old = zip(traced.graph.program.inputs, traced.operands, strict=True)
    return dataclasses.replace(
        traced, operands=tuple(new.get(value, array) for value, array in old)
    )


def _check_alike(clean: Inputs, corrupted: Inputs) -> int:
    """Returns the number of examples, or raises if two batches are not alike."""
    check_arrays(clean)
    check_arrays(corrupted)
    both = [
        (
            jax.tree.structure(batch),
            [(x.shape, x.dtype) for x in jax.tree.leaves(batch)],
        )
        for batch in (clean, corrupted)
    ]
    if both[0] != both[1]:
        shown = [
            jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", batch)
            for batch in (clean, corrupted)
        ]
        raise ValueError(
            f"Clean inputs are {shown[0]}, and corrupted ones {shown[1]}.\nActivations "
            "are exchanged place by place, so both need the same shapes: cut or pad "
            "texts to as many tokens."
        )
    sizes = {x.shape[:1] for x in jax.tree.leaves(clean)}
    if len(sizes) > 1 or () in sizes:
        raise ValueError(
            "All inputs need the same number of examples on their first axis, and have "
            f"the shapes {jax.tree.map(lambda x: x.shape, clean)}.\nOf a single "
            "example write `inputs[None]`."
        )
    return sizes.pop()[0]


# --- Effects --------------------------------------------------------------------------


def effects(
    interchange: Interchange,
    call: str,
    *,
    method: Method,
    steps: int,
    batch_size: int | None,
) -> Callable[[Context], Effects]:
    """Returns a function that measures the effect of each mask.

    Args:
        interchange: the model in which parts are exchanged.
        call: the name of the function that was called, for messages.
        method: how effects are measured, see the top of this file.
        steps: the number of gradients of `"integrated"`, at the middles of intervals.
        batch_size: the number of masks, or of gradients, computed at once.

    Raises:
        ValueError: if there is no such method, or `steps` or `batch_size` is not
            positive.
    """
    check_choice("method", method, get_args(Method), call=call)
    steps = checked_integer("steps", steps, 1, call=call)
    if batch_size is not None:
        batch_size = checked_integer("batch_size", batch_size, 1, call=call)

    def scores_of(static: StaticPart, arrays: list[Any], numbers: Any) -> Any:
        context = static.with_arrays(arrays)

        def of_one(number: Any) -> Any:  # -2 is every part, -1 is none
            mask = (jnp.arange(context.count) == number) | (number == -2)
            rows = jnp.broadcast_to(mask, (context.n_examples, context.count))
            return interchange.scores(context, rows)

        return jax.vmap(of_one)(numbers)

    def slope(context: Context, point: Any) -> Any:
        t, weight = point
        dtype = jnp.promote_types(jnp.float32, context.others[0].dtype)
        mask = jnp.full((context.n_examples, context.count), t, dtype)
        slopes = jax.grad(lambda m: interchange.scores(context, m).sum())(mask)
        return weight.astype(slopes.dtype) * slopes

    jitted = jax.jit(scores_of, static_argnums=0)
    slopes_over = summed(slope, batch_size=batch_size, name=call)

    def measure(context: Context) -> Effects:
        static, arrays = static_and_arrays(context)
        run = jitted if static.is_constant else scores_of
        n_runs = 2 + (context.count if method == "exact" else 0)
        each = sum(leaf.size * leaf.dtype.itemsize for leaf in context.others)
        scores = over_units(
            lambda units: run(static, arrays, jnp.asarray(units) - 2),
            n_runs,
            even_size(n_runs, batch_size or within_budget(each)),
            is_inner=is_staged(),
        )
        if method == "exact":
            return Effects((scores[2:] - scores[1:2]).T, scores[1], scores[0])
        nodes = (
            np.zeros(1) if method == "gradient" else (np.arange(steps) + 0.5) / steps
        )
        points = jnp.asarray(nodes), jnp.full(len(nodes), 1 / len(nodes))
        slopes = slopes_over(context, points, context.others)
        return Effects(slopes, scores[1], scores[0])

    return measure


def residual(effects_of_parts: Any, clean: Any, corrupted: Any) -> Any:
    """Returns by how much effects add up to more than the whole effect, `(batch,)`.

    Args:
        effects_of_parts: a pytree of effects with the examples on the first axis.
        clean: the score of the clean run, `(batch,)`.
        corrupted: the score with every part exchanged, `(batch,)`.
    """
    leaves = jax.tree.leaves(effects_of_parts)
    total = sum(leaf.sum(axis=tuple(range(1, leaf.ndim))) for leaf in leaves)
    return total - (corrupted - clean)
