"""The examples of a data set for which the channels of a layer are most relevant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.relevance.lrp import lrp
from jaxinterp.checks import checked_integer
from jaxinterp.loop import top_k
from jaxinterp.loop.stream import check_stream, everywhere, first_invalid, over_stream
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.pytree import pytree
from jaxinterp.rules.presets import Rules
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.select import select_one
from jaxinterp.tracing.split import check_can_start
from jaxinterp.types import ApplyFn, Sites, Variables


@pytree
class RelevanceExamples:
    """Examples of each channel, the one of the highest relevance first.

    Attributes:
        indices: the numbers of the examples in the stream, `(channels, k)`; -1 where
            there were too few.
        relevance: the relevance of the channel for each of them, `(channels, k)`, in
            units of the score; NaN where there were too few.
        n_examples: the number of examples that were looked at.
    """

    indices: Any
    relevance: Any
    n_examples: Any


def relevance_examples(
    apply_fn: ApplyFn,
    site: Sites,
    variables: Variables,
    batches: Iterable[Any],
    *,
    k: int = 9,
    composite: Rules = "epsilon_plus_flat",
    score: Score | Objective | str = logit,
    resume: RelevanceExamples | None = None,
    progress: bool = True,
) -> RelevanceExamples:
    r"""Finds the examples for which each channel of a site is most relevant.

    $$r_c(x) = \sum_p R_{p,c}(x)$$

    The sum of the relevance at the site is over the positions $p$. Where
    `featurevis.dataset_examples` shows what a channel reacts to, these examples show
    what the network makes use of it for (relevance maximization): a channel that is
    active but does not count for the score is left out. `concept_relevance` shows
    where in each of them. Cost: for each batch one forward and one backward pass, by
    rules, for all channels together.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        site: the site, with its channels first or last; one site only.
        variables: the weights of the model.
        batches: pairs `(inputs, target)`, as an attribution function takes them: the
            target is the class whose score is explained, such as the right one or the
            predicted one.
        k: the number of examples that each channel gets.
        composite: which site gets which rule, as for `lrp`.
        score: which number per example is explained, as for `lrp`.
        resume: the result of an earlier call with the same arguments. Its examples come
            before those of `batches`; one long call gives the same.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        The numbers of the examples in the stream and their relevance, by channel.

    Raises:
        AddressError: if there is no such site.
        AmbiguousAddressError: if there are several such sites.
        FloatingPointError: if a relevance is not a number; names the batch.
        TypeError: if a batch is no pair, or `resume` is no such result.
        ValueError: if `k` is not positive, the site is in a loop or has no channels,
            the batches are empty, or `resume` has other channels or another `k`.

    References:
        Achtibat et al., 2023 (relevance maximization) [achtibat2023attribution].

    Example:
        >>> model = lambda w, x: jax.nn.relu(x) @ w
        >>> x, w = jnp.array([[3.0, 1.0], [2.0, 2.0]]), jnp.array([[1.0], [-2.0]])
        >>> batches = [(x, jnp.array([0, 0]))]
        >>> options = {"k": 1, "composite": "epsilon_plus"}
        >>> examples = relevance_examples(model, "relu", w, batches, **options)
        >>> examples.indices.tolist(), examples.relevance.round().tolist()
        ([[0], [0]], [[3.0], [-2.0]])
    """
    k = checked_integer("k", k, 1, call="relevance_examples")
    check_stream(batches)

    def relevance(variables: Any, examples: Any) -> Any:
        """The relevance of each channel for each example, `(channels, batch)`."""
        inputs, target = _checked_pair(examples)
        graph = trace_call(apply_fn, variables, inputs).graph
        place = select_one(graph, site)
        check_can_start(graph, place)
        attribute = lrp(apply_fn, composite=composite, score=score, at=place.address)
        at_site = attribute(variables, inputs, target)
        if at_site.ndim < 2:
            raise ValueError(
                f"relevance_examples: the activation at {str(site)!r} has the shape "
                f"{at_site.shape}, and its last axis is no axis of channels."
            )
        at_site = place.channels_last(at_site)
        wide = at_site.astype(jnp.promote_types(at_site.dtype, jnp.float32))
        return wide.sum(axis=tuple(range(1, wide.ndim - 1))).T

    def step(state: RelevanceExamples, variables: Any, examples: Any, n: Any) -> Any:
        values = relevance(variables, examples)
        before = top_k.Best(state.indices, state.relevance, ())
        numbers = top_k.numbers_in_stream(state.n_examples, values.shape[1], n)
        best = top_k.best_of(before, top_k.all_of_batch(numbers, values), top_k.highest)
        after = RelevanceExamples(best.indices, best.scores, state.n_examples + n)
        return after, first_invalid(jnp.isnan(values), n)

    def start(examples: Any) -> tuple[Any, RelevanceExamples]:
        found = jax.eval_shape(relevance, variables, examples)
        best = top_k.empty_best(found.shape[0], k, found.dtype)
        state = RelevanceExamples(best.indices, best.scores, jnp.zeros((), jnp.int32))
        if resume is not None:
            _check_resume(resume, state)
            state = resume
        jitted = jax.jit(step, out_shardings=everywhere(examples))

        def update(state: Any, examples: Any, count: Any) -> tuple[Any, Any]:
            return jitted(state, variables, examples, count)

        return update, state

    return over_stream(
        *("relevance_examples", batches, start),
        constants=variables,
        invalid="not a number",
        name="relevance" if progress else "",
        is_tree=True,
    )


def _checked_pair(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(
            "relevance_examples: each batch is a pair `(inputs, target)`, and one is "
            f"{type(batch).__name__}."
        )
    inputs, target = batch
    return inputs, target


def _check_resume(resume: Any, expected: RelevanceExamples) -> None:
    if not isinstance(resume, RelevanceExamples):
        raise TypeError(
            "`resume` is what an earlier call of relevance_examples() returned, and is "
            f"{type(resume).__name__}."
        )
    before, now = resume.indices.shape, expected.indices.shape
    if before != now:
        raise ValueError(
            f"`resume` is for {before[0]} channels and k={before[1]}, and this call "
            f"for {now[0]} and k={now[1]}.\nGo on with the earlier site and k."
        )
