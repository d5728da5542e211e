"""How the activations of units are distributed over a dataset, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_real
from jaxinterp.loop import histogram
from jaxinterp.loop.histogram import Histogram
from jaxinterp.loop.stream import everywhere, first_invalid, over_stream
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.scorer import By, Scorer, check_alone, check_places, scorer
from jaxinterp.pytree import pytree, static
from jaxinterp.types import ApplyFn


@pytree
class Distribution:
    """Activations of each unit, counted.

    Attributes:
        count: the number of values, the same for each unit.
        mean: the mean of the values, `(units,)`.
        squares: the sum of the squared distances from the mean, `(units,)`.
        minimum: the smallest value, `(units,)`.
        maximum: the largest value, `(units,)`.
        counts: the number of values in each bin, from the most negative bin up,
            `(units, bins)`.
        accuracy: the relative error of a quantile.
        by: the argument `by` of `activation_distribution`.
    """

    count: int
    mean: Any
    squares: Any
    minimum: Any
    maximum: Any
    counts: Any
    accuracy: float = static()
    by: By = static()

    @property
    def variance(self) -> Any:
        """The mean squared distance from the mean, `(units,)`."""
        return self.squares / self.count

    @property
    def edges(self) -> np.ndarray:
        """The edges of the bins, `(bins + 1,)`, for a plot of `counts`."""
        return histogram.edges(self.accuracy)

    def quantile(self, q: float) -> np.ndarray:
        """Returns the value below which a share of the values of each unit lies.

        It is that of rank `floor(q (count - 1))`, up to the relative error `accuracy`.

        Args:
            q: the share, between 0 and 1.

        Raises:
            ValueError: if it is not.
        """
        return histogram.quantile(self._histogram, self.count, q, self.accuracy)

    @property
    def _histogram(self) -> Histogram:
        return Histogram(*(getattr(self, name) for name in Histogram._fields))


def activation_distribution(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Any,
    batches: Iterable[Any],
    *,
    by: By = "image",
    accuracy: float = 0.01,
    resume: Distribution | None = None,
    progress: bool = True,
) -> Distribution:
    r"""Counts how often units are how active on a stream of images.

    All units are served by one pass of the model over each image, in memory that does
    not grow with the stream: $41 / \alpha$ counts for a unit. Mean and variance are
    merged batch by batch and exact but for rounding; extremes are exact; quantiles have
    the relative error $\alpha$ for magnitudes between 1e-9 and 1e9, of which smaller
    ones count as zero and larger ones as 1e9.

    Args:
        apply_fn: the model.
        objective: an objective of one or many units, or a string for it:
            `channel("Conv_0")`, or `"Conv_0:*"`, is all channels of a layer.
        variables: the weights of the model.
        batches: arrays of images, with the images on the first axis.
        by: whether the score of each image is counted, or that of every place of the
            map on its own, as for a threshold on activations.
        accuracy: $\alpha$, the relative error of a quantile.
        resume: the result of an earlier call with the same arguments, to go on from.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        Counts, moments and extremes for each unit, in the units of the objective.

    Raises:
        FloatingPointError: if a score is not finite; names the batch.
        OverflowError: if there are more values for a unit than 32 bits can count.
        TypeError: if a batch is not an array.
        ValueError: if a hyperparameter is out of range, images differ in shape, or
            there are none; if `resume` is of another call; if `by="place"` and the
            objective is not a mean over places.
        AddressError: if the model has no such site.

    Example:
        >>> from jaxinterp.objectives.unit import channel
        >>> values = activation_distribution(
        ...     lambda w, x: jnp.tanh(w * x), channel("tanh"), 1.0,
        ...     [jnp.zeros((3, 1, 2)), jnp.ones((1, 1, 2))])
        >>> values.count, values.quantile(0.5).tolist(), round(float(values.mean[0]), 3)
        (4, [0.0, 0.0], 0.19)

    References:
        Masson et al., 2019, section 2 (bins) [masson2019ddsketch]; Chan et al., 1983
        (moments of two samples together) [chan1983algorithms]; Bau et al., 2017,
        section 2.2 (quantiles of all places) [bau2017network].
    """
    accuracy = checked_real(
        "accuracy", accuracy, 1e-5, 0.99, call="activation_distribution"
    )

    def start(images: Any) -> tuple[Any, Any]:
        unit_scorer, bound = scorer(apply_fn, objective, variables, images)
        check_alone(bound, "activation_distribution")
        check_places(unit_scorer, by)
        each = math.prod(unit_scorer.places or ()) if by == "place" else 1
        dtype = unit_scorer.dtype(variables, bound, images)
        count, sums = 0, histogram.empty_histogram(unit_scorer.count, accuracy, dtype)
        if resume is not None:
            _check_resume(resume, sums, accuracy, by)
            count, sums = resume.count, resume._histogram
        sharding = everywhere(images)
        score = jax.jit(
            lambda *arrays: _values(unit_scorer, by, *arrays), out_shardings=sharding
        )

        def update(state: tuple[int, Histogram], images: Any, n_new: Any) -> Any:
            count, sums = state
            total = count + int(n_new) * each
            if total > histogram.MOST:
                raise OverflowError(
                    f"There are {total} values for a unit, and a bin counts to "
                    f"{histogram.MOST}.\nTake fewer images, or by='image'."
                )
            values, invalid = score(variables, bound, images, n_new)
            before = np.asarray(count, values.dtype)
            return (total, _with_batch(sums, before, values, n_new, accuracy)), invalid

        return update, (count, sums)

    count, sums = over_stream(
        *("activation_distribution", batches, start),
        constants=(variables, objective),
        invalid="not finite",
        name="distribution" if progress else "",
    )
    return Distribution(count, *sums, accuracy=accuracy, by=by)


_with_batch = jax.jit(histogram.with_batch, static_argnames="accuracy")


def _values(
    unit_scorer: Scorer,
    by: By,
    variables: Any,
    bound: Objective,
    images: Any,
    count: Any,
) -> tuple[Any, Any]:
    """What is counted, `(units, images, values)`, and what of it is invalid."""
    scores = unit_scorer(variables, bound, images)
    values = scores.places if by == "place" else scores.images[..., None]
    return values, first_invalid(~jnp.isfinite(values).all(axis=-1), count)


def _check_resume(resume: Any, expected: Histogram, accuracy: float, by: By) -> None:
    if not isinstance(resume, Distribution):
        raise TypeError(
            "`resume` is what an earlier call returned, and is "
            f"{type(resume).__name__}."
        )

    def description(sums: Any, accuracy: float, by: By) -> str:
        kind = f"accuracy={accuracy}, by={by!r}"
        return f"{len(sums.counts)} units, {kind}, {sums.mean.dtype}"

    before = description(resume, resume.accuracy, resume.by)
    now = description(expected, accuracy, by)
    if before != now:
        raise ValueError(
            f"`resume` is for {before}, and this call for {now}.\n"
            "Go on with the arguments of the earlier call."
        )
