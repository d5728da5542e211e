r"""How much of a layer's activation has to pass, position by position, in bits.

$R$ is the activation at a site, $\mu$ and $s$ the mean and the standard deviation of
each of its $k$ entries over a background, and $\lambda \in (0, 1)$ the share that
passes.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.maps.channels import (
    check_positions,
    positions_of,
    resized,
)
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.checks import checked_integer, checked_positive, checked_real, is_traced
from jaxinterp.keys import check_key, each_folded, folded, steady
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.steps import iterate
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, log_probability
from jaxinterp.perturbation.baseline import background_of
from jaxinterp.perturbation.blur import blurred
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

NAME = "information_bottleneck"
START = 5.0  # of the logit of the share: almost all passes
SMALLEST = 0.01  # deviation, as a share of the largest of the site


@dataclasses.dataclass(frozen=True)
class _Search:
    """What the steps of a search have in common.

    Attributes:
        model: the model, as `explained` returns it.
        score: which number per example is explained.
        at: the site of the bottleneck.
        beta: the price of information.
        copies: the number of noisy copies in each step.
        learning_rate: the learning rate of Adam.
        sigma: the standard deviation of the blur, in positions.
        batch_size: the number of copies evaluated at once.
    """

    model: ApplyFn
    score: Score
    at: Sites
    beta: float
    copies: int
    learning_rate: float
    sigma: float
    batch_size: int | None

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam, whose root has a slope where a gradient is 0."""
        return optax.adam(self.learning_rate, eps_root=1e-16)

    def shares(self, alpha: Any) -> tuple[Any, Any]:
        """Returns the share of noise and the share that passes, which add up to 1."""
        axes = positions_of(alpha)
        return (
            blurred(jax.nn.sigmoid(-alpha), self.sigma, axes),
            blurred(jax.nn.sigmoid(alpha), self.sigma, axes),
        )


class _Channel(NamedTuple):
    """The activation that passes, and the noise that takes its place.

    Attributes:
        place: where the model is explained.
        mean: the mean of each entry, `(1, *positions, channels)`.
        deviation: its standard deviation.
        key: the key of all noise.
    """

    place: Place
    mean: Any
    deviation: Any
    key: Any

    def standardized(self, dtype: Any) -> Any:
        """Returns the activation less its mean, in deviations."""
        (activation,) = jax.tree.leaves(self.place.array)
        return (activation.astype(dtype) - self.mean) / self.deviation


@method
def information_bottleneck(
    apply_fn: ApplyFn,
    *,
    at: Sites,
    background: Any,
    beta: float = 10.0,
    steps: int = 10,
    copies: int = 10,
    learning_rate: float = 1.0,
    sigma: float = 1.0,
    resize: bool = True,
    batch_size: int | None = None,
    score: Score | Objective | str = log_probability,
) -> Attribution:
    r"""Attributes to positions the bits of an activation that the score needs.

    $$\min_\lambda\; -\mathbb{E}_\epsilon f(Z) + \frac{\beta}{k} \sum_i I_i, \quad
    Z = \lambda R + (1 - \lambda)(\mu + s\,\epsilon), \quad I_i = \frac12
    \left(\lambda_i^2 r_i^2 + (1 - \lambda_i)^2 - 1\right) - \log(1 - \lambda_i)$$

    Noise takes the place of whatever the score can do without. $\epsilon$ is normal,
    $r = (R - \mu) / s$, and $I_i$ the divergence of what passes from noise alone, an
    upper bound of the information in an entry. $\lambda$ is a sigmoid, blurred over
    positions, and starts near 1. What gets 0 bits is not needed, as far as the search
    of Adam goes. A deviation counts as 1 % of the largest at least. Cost: `steps`
    times `copies` backward passes from the site on.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site of the bottleneck, usually a convolution or the activation after it
            in the middle of the model; one site only, with channels on its last axis.
        background: activations at the site of two examples at least, such as
            `jaxinterp.capture` returns of data; some hundred make good noise.
        beta: $\beta$, the price of a mean nat per entry, in the units of `score`.
        steps: the number of steps of Adam.
        copies: the number of noisy copies in each step; the noise is the same for all
            examples.
        learning_rate: the learning rate of Adam, for the logit of $\lambda$.
        sigma: the standard deviation of the Gaussian that makes $\lambda$ smooth, in
            positions; 0 for none.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.
        batch_size: the number of copies evaluated at once; by default as many as make
            16 MB of activations of the whole batch together, at least one.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.

    Returns:
        An attribution function that needs a `key`, in bits per position of the site,
        summed over its channels, and not negative. With `resize` the map has the shape
        of the inputs: all channels of a pixel are equal, and add up to it.

    Raises:
        ValueError: if a hyperparameter is out of range; when called, if the background
            does not fit or its examples are equal, if the activation has no positions,
            or if with `resize` its positions have another number of axes than those of
            the inputs, or there are several inputs.
        TypeError: when called, if there is no key.

    References:
        Schulz et al., 2020, the bottleneck of one sample [schulz2020restricting]; their
        smallest deviation is 0.01.

    Example:
        >>> model = lambda w, x: jnp.tanh(x).reshape(1, 2) @ w
        >>> attribute = information_bottleneck(
        ...     model, at="tanh", background=jnp.array([-0.5, 0.5]).reshape(2, 1, 1, 1)
        ...     + jnp.zeros((2, 2, 1, 1)), sigma=0.0, resize=False, score="logit")
        >>> image = jnp.arctanh(jnp.array([[[[0.5]], [[0.5]]]]))
        >>> key = jax.random.key(0)
        >>> bits = attribute(jnp.array([[80.0], [0.0]]), image, 0, key)[0, :, 0]
        >>> bool(bits[0] > 1), round(float(bits[1]), 2)
        (True, 0.0)
    """
    model, score_fn = explained(apply_fn, score)
    steps = checked_integer("steps", steps, 1, call=NAME)
    if batch_size is not None:
        batch_size = checked_integer("batch_size", batch_size, 1, call=NAME)
    search = _Search(
        model,
        score_fn,
        at,
        checked_real("beta", beta, 0, call=NAME),
        checked_integer("copies", copies, 1, call=NAME),
        checked_positive("learning_rate", learning_rate, call=NAME),
        checked_real("sigma", sigma, 0, call=NAME),
        batch_size,
    )

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        place = place_of(*call, at=at, name=NAME, channels_last=True)
        check_key(NAME, key)
        check_positions(place.array, NAME, at)
        channel = _channel(place, background, steady(key))
        alpha = _searched(search, channel, steps)
        noise, passing = search.shares(alpha)
        nats = _information(noise, passing, channel.standardized(alpha.dtype))
        bits = (nats / math.log(2)).sum(-1).astype(place.array.dtype)
        return place.shaped(at, resized(bits, inputs, NAME, at) if resize else bits)

    return attribute


def _background_of(place: Place, background: Any) -> Any:
    """The examples of a background, with their channels on the last axis."""
    assert place.rest is not None, "a site was given"
    as_captured = place.in_model(place.array)
    return place.rest.in_order(background_of(background, as_captured))


def _channel(place: Place, background: Any, key: Any) -> _Channel:
    """The noise of a background."""
    examples = _background_of(place, background)
    if len(examples) < 2:
        raise ValueError(
            f"{NAME}: `background` has one example, and no deviation.\nGive the "
            "activations of two at least; some hundred make good noise."
        )
    examples = examples.astype(jnp.promote_types(examples.dtype, jnp.float32))
    deviation = examples.std(0, keepdims=True)
    if not is_traced(deviation) and deviation.size and deviation.max() == 0:
        raise ValueError(
            f"{NAME}: all examples of `background` are equal, and no entry deviates.\n"
            "Give the activations of different examples at the site."
        )
    deviation = jnp.maximum(deviation, SMALLEST * deviation.max())
    return _Channel(place, examples.mean(0, keepdims=True), deviation, key)


def _information(noise: Any, passing: Any, standardized: Any) -> Any:
    """How far what passes of each entry is from noise alone, in nats."""
    # Of a small share the terms cancel but for its square.
    of_little = jnp.log1p(-jnp.minimum(passing, 0.5))
    logarithm = jnp.where(passing < 0.5, of_little, jnp.log(noise))
    return ((passing * standardized) ** 2 - passing * (1 + noise)) / 2 - logarithm


def _searched(search: _Search, channel: _Channel, steps: int) -> Any:
    """The logits of the shares after all steps."""
    alpha = jnp.full(channel.place.array.shape, START, channel.mean.dtype)
    state = jax.tree.map(jnp.copy, (alpha, search.optimizer.init(alpha)))
    with progress_bar(steps, NAME, is_shown=not is_traced(channel)) as bar:
        numbers = range(steps)
        state, _ = iterate(_step, search, channel, state, numbers, tick=bar.update)
    return state[0]


def _step(
    search: _Search, channel: _Channel, state: tuple[Any, Any], number: Any
) -> tuple[Any, None]:
    alpha, adam = state

    def slope_at(context: tuple[_Channel, Any], key: Any) -> Any:
        channel, alpha = context
        place = channel.place
        epsilon = jax.random.normal(key, channel.mean.shape, alpha.dtype)

        def total(alpha: Any) -> Any:
            noise, passing = search.shares(alpha)
            other = channel.mean + channel.deviation * epsilon
            mixed = passing * place.array.astype(alpha.dtype) + noise * other
            array = mixed.astype(place.array.dtype)
            return place.scores(search.model, search.score, array).sum()

        return jax.grad(total)(alpha)

    def price(alpha: Any) -> Any:
        nats = _information(*search.shares(alpha), channel.standardized(alpha.dtype))
        return search.beta * nats.mean(tuple(range(1, nats.ndim))).sum()

    keys = each_folded(folded(channel.key, number), jnp.arange(search.copies))
    total_slope = summed(slope_at, batch_size=search.batch_size, name=NAME)
    slope = total_slope((channel, alpha), keys, channel.place.array) / search.copies
    updates, adam = search.optimizer.update(jax.grad(price)(alpha) - slope, adam)
    return (alpha + updates, adam), None
