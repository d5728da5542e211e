"""The examples of a stream that score highest and lowest, for each of several units."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer
from jaxinterp.loop import top_k
from jaxinterp.loop.stream import first_invalid, over_stream
from jaxinterp.pytree import pytree, static


@pytree
class Ranking:
    """The examples of a stream that score highest and lowest; it does not grow with it.

    Attributes:
        n_examples: the number of examples so far.
        highest: the best examples, the highest score first, `(units, k)`.
        lowest: the worst examples, the lowest score first, `(units, k)`.
        description: a text that tells one call from others, for `resume`.
    """

    n_examples: Any
    highest: top_k.Best
    lowest: top_k.Best
    description: str = static(default="")

    def by_example(self) -> np.ndarray:
        """Returns the scores that were kept in the order of the stream.

        Returns:
            One row for each unit, `(units, examples)`; NaN where an example is neither
            among the highest nor among the lowest. With `k` of at least the number of
            examples nothing is missing.
        """
        indices = np.asarray(self.highest.indices)
        scores = np.full((len(indices), int(self.n_examples)), np.nan)
        for best in (self.highest, self.lowest):
            unit, at = np.nonzero(np.asarray(best.indices) >= 0)
            numbers = np.asarray(best.indices)[unit, at]
            scores[unit, numbers] = np.asarray(best.scores)[unit, at]
        return scores


def ranked(
    call: str,
    batches: Iterable[Any],
    start: Callable[[Any], tuple[Callable[[Any], Any], int, Any]],
    *,
    k: int,
    description: str,
    constants: Any = (),
    resume: Ranking | None = None,
    name: str = "",
) -> Ranking:
    """Returns the examples of a stream that score highest and lowest.

    Of equal scores the earlier example comes first, and but for rounding nothing
    depends on how the stream is cut into batches.

    Args:
        call: the name of the function that was called, for the messages.
        batches: pytrees of arrays with the examples on the first axis.
        start: a function from the first batch to `score`, the number of units and the
            dtype of the scores. `score(batch)` returns `(units, examples)`; for a batch
            that is spread over devices it lies on all of them, see `everywhere`.
        k: the number of examples of either sort that are kept for each unit.
        description: a text that a ranking must have in common with the one that it
            goes on from.
        constants: a pytree of the arrays that `score` reads besides.
        resume: the ranking of the examples before.
        name: the text beside the progress bar; none is shown for `""`.

    Raises:
        FloatingPointError: if a score is not a number; the message names the example.
        TypeError: if a batch holds something else than arrays, or `resume` is no
            ranking.
        ValueError: if examples differ in shape or dtype, if there are none, or if
            `resume` is of another call.
    """
    k = checked_integer("k", k, 1, call=call)

    def first_state(batch: Any) -> tuple[Any, Ranking]:
        score, units, dtype = start(batch)
        empty = top_k.empty_best(units, k, dtype)
        text = f"{description}, {units} units, k={k}, {np.dtype(dtype)}"
        state = Ranking(jnp.zeros((), jnp.int32), empty, empty, text)
        if resume is not None:
            _check_resume(resume, state)
            state = resume

        def update(state: Ranking, batch: Any, count: Any) -> tuple[Ranking, Any]:
            return _with_batch(state, score(batch), count)

        return update, state

    return over_stream(
        *(call, batches, first_state),
        constants=constants,
        invalid="not a number",
        name=name,
        is_tree=True,
    )


@jax.jit
def _with_batch(state: Ranking, scores: Any, count: Any) -> tuple[Ranking, Any]:
    indices = top_k.numbers_in_stream(state.n_examples, scores.shape[1], count)
    batch = top_k.all_of_batch(indices, scores)
    highest = top_k.best_of(state.highest, batch, top_k.highest)
    lowest = top_k.best_of(state.lowest, batch, top_k.lowest)
    n_examples = state.n_examples + count
    ranking = Ranking(n_examples, highest, lowest, state.description)
    return ranking, first_invalid(jnp.isnan(scores), count)


def _check_resume(resume: Any, expected: Ranking) -> None:
    if not isinstance(resume, Ranking):
        raise TypeError(
            "`resume` is what an earlier call returned, and is "
            f"{type(resume).__name__}."
        )
    if resume.description != expected.description:
        raise ValueError(
            f"`resume` is for {resume.description}, and this call for "
            f"{expected.description}.\nGo on with the arguments of the earlier call."
        )
