r"""How much of a score a circuit computes: a set of edges, the others exchanged."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxinterp.mechanistic.edges import EdgePlan, edge_plan
from jaxinterp.mechanistic.interchange import Ablation, Interchange
from jaxinterp.mechanistic.parts import Places
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.pytree import pytree
from jaxinterp.types import ApplyFn, Inputs, Target, Variables


@pytree
class Circuit:
    """The scores of a circuit and of its complement.

    Attributes:
        clean: the score of the whole model, `(batch,)`.
        corrupted: the score with all edges exchanged, the empty circuit, `(batch,)`.
        kept: the score with all edges but those of the circuit exchanged, `(batch,)`.
        removed: the score with the edges of the circuit exchanged, `(batch,)`.
        size: the number of edges in the circuit.
    """

    clean: Any
    corrupted: Any
    kept: Any
    removed: Any
    size: Any

    @property
    def faithfulness(self) -> Any:
        r"""The share of the score that the circuit has, `(batch,)`; 1 is all of it.

        $(m(C) - m(\emptyset)) / (m(\mathrm{model}) - m(\emptyset))$. NaN where the
        model and the empty circuit differ by less than a millionth of the score.
        """
        return self._share(self.kept)

    @property
    def completeness(self) -> Any:
        """The share that the other edges have without the circuit, `(batch,)`.

        A circuit that leaves nothing out has 0.
        """
        return self._share(self.removed)

    def _share(self, score: Any) -> Any:
        whole = self.clean - self.corrupted
        is_defined = jnp.abs(whole) > 1e-6 * jnp.abs(self.clean)
        return (score - self.corrupted) / jnp.where(is_defined, whole, jnp.nan)


class EvaluateCircuit(Protocol):
    """A function that says how much of a score a set of edges computes."""

    def __call__(
        self,
        variables: Variables,
        clean: Inputs,
        corrupted: Inputs,
        kept: Any,
        target: Target = None,
    ) -> Circuit:
        """Returns the scores of a circuit, one for each example."""
        ...


def evaluate_circuit(
    apply_fn: ApplyFn,
    *,
    sources: Places,
    destinations: Places,
    score: Score | Objective | str = logit,
    ablation: Ablation | None = None,
) -> EvaluateCircuit:
    r"""Says how much of a score a circuit computes when all else is exchanged.

    $$f(C) = \frac{m(C) - m(\emptyset)}{m(\mathrm{model}) - m(\emptyset)}$$

    $m(C)$ is the score of the clean run in which every edge outside of $C$ carries what
    it carries on the corrupted inputs. The circuit should have faithfulness $f(C)$
    near 1, and the other edges, whose $f$ is `completeness`, near 0. Both are shares,
    and may lie outside of [0, 1]. Report them for each example: a mean of shares is not
    a share of means. The order of edges by effect says little about sizes, so look at
    these shares beside any ranking.

    Cost: five forward passes. For many circuits write `jax.vmap(evaluate,
    in_axes=(None, None, None, 0))`, with one row of `kept` a circuit.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        sources: the sites that edges start from, as for `edges`.
        destinations: the sites where edges end, as for `edges`.
        score: which number per example is measured: a score of the outputs, or an
            objective.
        ablation: a function from the activation on the corrupted inputs to what takes
            the place of the clean one, as for `edges`.

    Returns:
        A function of the variables, the clean and the corrupted inputs, the circuit and
        the target, that returns `Circuit`. The circuit is a mask of the edges in the
        order of `Edges.names`, such as `Edges.top(5)`.

    Raises:
        AddressError: when called, if no site matches.
        TypeError: if `score` or `ablation` is no function, or axes are no integers;
            when called, if `kept` is no array of truth values.
        ValueError: when called, if `kept` does not have one value for each edge, and
            for all reasons that `edges` has.

    Example:
        >>> from jaxinterp.objectives import total
        >>> def model(w, x):
        ...     hidden = jnp.tanh(x)
        ...     return jnp.tanh(hidden @ w["left"]) + jnp.tanh(hidden @ w["right"])
        >>> w = {"left": jnp.array([[1.0]]), "right": jnp.array([[2.0]])}
        >>> clean, corrupted = jnp.zeros((1, 1)), jnp.ones((1, 1))
        >>> evaluate = evaluate_circuit(
        ...     model, sources="tanh", destinations=["left", "right"], score=total)
        >>> circuit = evaluate(w, clean, corrupted, jnp.array([True, False]))
        >>> round(float(circuit.faithfulness[0]), 4)
        0.4139
        >>> round(float(circuit.completeness[0]), 4)
        0.5861

    References:
        Mueller et al., 2025, on the share of a circuit [mueller2025mib]; Wang et al.,
        2022, on faithfulness and completeness [wang2022interpretability], who ask of a
        complete circuit that it answers every ablation as the model does.
    """
    interchange = Interchange.of(
        apply_fn, score, edge_plan(sources, destinations), ablation
    )

    def evaluate(
        variables: Variables,
        clean: Inputs,
        corrupted: Inputs,
        kept: Any,
        target: Target = None,
    ) -> Circuit:
        plan, context = interchange.start(variables, clean, corrupted, target)
        assert isinstance(plan, EdgePlan)
        kept = _checked(kept, plan.count)
        masks = jnp.stack([jnp.zeros_like(kept), jnp.ones_like(kept), ~kept, kept])
        shape = (context.n_examples, plan.count)
        rows = jax.vmap(
            lambda mask: interchange.scores(context, jnp.broadcast_to(mask, shape))
        )(masks)
        return Circuit(*rows, size=kept.sum())

    return evaluate


def _checked(kept: Any, n_edges: int) -> Any:
    kept = jnp.asarray(kept)
    if kept.dtype != bool:
        raise TypeError(
            f"`kept` says of each edge whether the circuit has it, and is {kept.dtype}."
            "\nWrite for example `kept=edges.top(5)`."
        )
    if kept.shape != (n_edges,):
        raise ValueError(
            f"`kept` has the shape {kept.shape}, and there are {n_edges} edges.\nWrite "
            "for example `kept=edges.top(5)`, of edges with the same sites."
        )
    return kept
