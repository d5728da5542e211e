"""Activation patching: what each part of an activation carries of the difference."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Protocol

import jax
import jax.numpy as jnp

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
from jaxinterp.pytree import pytree
from jaxinterp.tracing.by_address import ByAddress
from jaxinterp.tracing.graph import Graph
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.types import ApplyFn, Inputs, Target, Variables


@pytree
class Patched:
    """The effect of each part.

    Attributes:
        effects: by address, the effect of each part on the score of each example,
            corrupted minus clean, `(batch, *axes)`.
        clean: the score of the clean run, `(batch,)`.
        corrupted: the score with all parts exchanged, `(batch,)`.
    """

    effects: ByAddress
    clean: Any
    corrupted: Any

    @property
    def residual(self) -> Any:
        """What the effects add up to beyond `corrupted - clean`, `(batch,)`.

        It tends to 0 for `method="integrated"` as the number of steps grows; for the
        other methods there is no such identity.
        """
        return residual(self.effects, self.clean, self.corrupted)

    @property
    def shares(self) -> ByAddress:
        """The effects as shares of `corrupted - clean`, by address.

        1 is a part that carries all of the difference. NaN where there is none: below a
        millionth of the clean score.
        """
        whole = self.corrupted - self.clean
        is_defined = jnp.abs(whole) > 1e-6 * jnp.abs(self.clean)

        def share(effect: Any) -> Any:
            rest = (1,) * (effect.ndim - 1)
            divisor = jnp.where(is_defined, whole, jnp.nan).reshape(-1, *rest)
            return effect / divisor

        return jax.tree.map(share, self.effects)


class MeasurePatches(Protocol):
    """A function that measures the effect of each part between two batches."""

    def __call__(
        self,
        variables: Variables,
        clean: Inputs,
        corrupted: Inputs,
        target: Target = None,
    ) -> Patched:
        """Returns the effect of each part on the score of each example."""
        ...


def activation_patching(
    apply_fn: ApplyFn,
    *,
    sites: Places,
    method: Method = "exact",
    steps: int = 30,
    score: Score | Objective | str = logit,
    ablation: Ablation | None = None,
    batch_size: int | None = None,
) -> MeasurePatches:
    r"""Measures what each part of an activation carries of a difference of scores.

    $$e_u = m(x;\ z_u \leftarrow z_u(x')) - m(x), \qquad
      e_u = (z_u(x') - z_u(x)) \cdot \frac{\partial m}{\partial z_u}(x)$$

    A part is a whole site or a slice of it: a layer, a head, a position, a channel, or
    a position of a head. `method="exact"` exchanges one part after another;
    `"gradient"` is attribution patching, the first order of it; `"integrated"` averages
    the gradient while all parts are exchanged together, so that the effects add up.
    This direction is called noising. For denoising give the corrupted batch as the
    clean one, and the reverse; the sign turns with it.

    Cost: a run per part (`"exact"`), a run and a backward pass (`"gradient"`), `steps`
    of these (`"integrated"`). Memory grows with `batch_size`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        sites: whose activations are exchanged: an address, a glob or a selector,
            several of them, or a mapping from these to the axes along which activations
            are divided, such as `{"blocks_*/attention/heads": (1, 2)}` for every
            position of every head.
        method: how effects are measured, see above.
        steps: the number of gradients of `"integrated"`, at the middles of intervals.
        score: which number per example is measured: a score of the outputs, or an
            objective.
        ablation: a function from the activation on the corrupted inputs to what takes
            the place of the clean one, such as `jnp.zeros_like`; by default that
            activation itself.
        batch_size: the number of parts, or of gradients, computed at once; by default
            as many as exchange 16 MB of activations together.

    Returns:
        A function of the variables, the clean and the corrupted inputs, and the target,
        that returns `Patched`: effects in units of `score`, corrupted minus clean, one
        for each example.

    Raises:
        AddressError: when called, if no site matches.
        TypeError: if `score` or `ablation` is no function, or axes are no integers.
        ValueError: if there is no such `method`, or a number is not positive; when
            called, if a site is in a loop, an axis does not exist, or clean and
            corrupted inputs differ in shape.

    Example:
        >>> from jaxinterp.objectives import total
        >>> model = lambda w, x: w * jnp.tanh(x)
        >>> measure = activation_patching(model, sites={"tanh": 1}, score=total)
        >>> result = measure(jnp.array([[1.0, 2.0]]), jnp.zeros((1, 2)),
        ...                  jnp.ones((1, 2)))
        >>> [round(effect, 3) for effect in result.effects["tanh"][0].tolist()]
        [0.762, 1.523]
        >>> [round(share, 3) for share in result.shares["tanh"][0].tolist()]
        [0.333, 0.667]

    References:
        Vig et al., 2020, on exchanging activations [vig2020investigating]; Kramár et
        al., 2024, on attribution patching [kramar2024atp].
    """
    pairs = as_pairs("sites", sites)

    def plan(graph: Graph, n_examples: int) -> _PatchPlan:
        return _PatchPlan(divided_sites(graph, pairs, n_examples))

    interchange = Interchange.of(apply_fn, score, plan, ablation)
    measured = effects(
        interchange,
        "activation_patching",
        method=method,
        steps=steps,
        batch_size=batch_size,
    )

    def measure(
        variables: Variables, clean: Inputs, corrupted: Inputs, target: Target = None
    ) -> Patched:
        plan, context = interchange.start(variables, clean, corrupted, target)
        assert isinstance(plan, _PatchPlan)
        result = measured(context)
        return Patched(
            by_part(plan.sources, plan.divide(result.effects)),
            result.clean,
            result.corrupted,
        )

    return measure


@dataclasses.dataclass(frozen=True, eq=False)
class _PatchPlan:
    """Which parts are exchanged.

    Attributes:
        sources: the sites whose parts are exchanged.
    """

    sources: tuple[Divided, ...]

    @property
    def count(self) -> int:
        """The number of parts."""
        return sum(part.count for part in self.sources)

    def divide(self, rows: Any) -> list[Any]:
        """Returns the columns of each site."""
        ends = list(itertools.accumulate(part.count for part in self.sources))
        return jnp.split(rows, ends[:-1], axis=1)

    def changes(self, others: tuple[Any, ...], mask: Any) -> Changes:
        """Returns what a run with masks does differently.

        Args:
            others: what takes the place of the activation of each site.
            mask: the mask of each part, `(batch, parts)`.
        """
        triples = zip(self.sources, others, self.divide(mask), strict=True)
        return Changes(
            edits={
                part.value: lambda own, part=part, other=other, rows=rows: part.mixed(
                    own, other, rows
                )
                for part, other, rows in triples
            }
        )


def by_part(parts: tuple[Divided, ...], rows: list[Any]) -> ByAddress:
    """Returns numbers of each example and part, `(batch, *axes)`, by address.

    Args:
        parts: the sites.
        rows: for each site, the numbers of its parts, `(batch, parts)`.
    """
    arrays = {
        part.site.address: row.reshape(row.shape[0], *part.sizes)
        for part, row in zip(parts, rows, strict=True)
    }
    return ByAddress.of({part.site.address: part.site for part in parts}, arrays)
