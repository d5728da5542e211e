"""`artifact_effect`: whether a suspected artefact decides, by pasting it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import (
    check_function,
    check_index,
    check_outside,
    checked_integer,
)
from jaxinterp.keys import check_key, folded
from jaxinterp.loop.chunks import over_units
from jaxinterp.metrics.bootstrap import Interval, bootstrap
from jaxinterp.types import ApplyFn, Images, Inputs, Key, Variables

# A function from images and a random key to images with something pasted into them.
Paste = Callable[[Images, Key], Images]
# An effect below this share of the images is called none, however certain it is.
SMALLEST_EFFECT = 0.02


class ArtifactEffect(NamedTuple):
    """What pasting an artefact does, beside what pasting anything does.

    All shares are of images that the model did not assign to the target before, with
    intervals over these images.

    Attributes:
        flips: the share of images that become the target when the artefact is pasted.
        control_flips: the same with controls, in the mean over all of them.
        effect: the difference, image by image.
        log_odds: by how much the artefact raises the log odds of the target more than
            the controls do, in nats.
        p_value: of McNemar's exact test of the flips against those of one control.
    """

    flips: Interval
    control_flips: Interval
    effect: Interval
    log_odds: Interval
    p_value: float

    @property
    def is_exposed(self) -> bool:
        """Whether the effect is at least 2 points, and its interval above 0."""
        return bool(self.effect.low > 0 and self.effect.mean >= SMALLEST_EFFECT)


def artifact_effect(
    apply_fn: ApplyFn,
    paste: Paste,
    variables: Variables,
    inputs: Inputs,
    target: int,
    *,
    key: Key,
    control: Paste | None = None,
    controls: int = 20,
    confidence: float = 0.95,
    batch_size: int = 128,
) -> ArtifactEffect:
    r"""Pastes an artefact into images without it, and counts what becomes the target.

    $$\text{effect} = P(\hat y(\text{pasted}) = t) - P(\hat y(\text{control}) = t)$$

    over images with $\hat y(x) \ne t$. Pasting anything disturbs a network, so each
    image is also pasted with *controls*: by default the same place of another image,
    drawn from those that are not $t$ either. That is what tells the artefact from its
    place and size. What is at the place of the *object* flips images for a good
    reason: the effect says that something decides, and you whether it should.

    The interval is over images: of a single patch it says what *this* patch does, which
    may be unusually bright. Let `paste` draw one of several, by its key, to ask about
    patches of that kind.

    Cost: 2 + `controls` forward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> logits`.
        paste: the function that pastes, `paste(images, key) -> images`, such as
            `lambda images, key: jnp.where(mask, artefact, images)`.
        variables: the weights of the model.
        inputs: the images, which lack the artefact.
        target: the class $t$ that the artefact is suspected to stand for.
        key: the random key; what is pasted and the controls get keys of their own.
        control: a function like `paste` for controls of your own, such as the same
            patch in other colors.
        controls: how many controls each image gets.
        confidence: the share of the intervals that hold the true mean.
        batch_size: how many images are computed at once.

    Returns:
        The shares and intervals. Without an image of another class they are NaN, and
        without two of them the controls.

    Raises:
        FloatingPointError: if a logit is not a number.
        ValueError: if there is no such class, what is pasted has another shape, or the
            model returns no logits.
        TypeError: if there is no key, images are no array, `paste` is no function, or
            inside of `jax.jit`.

    References:
        Carter et al., 2019, on patches that an atlas suggests [carter2019activation];
        McNemar, 1947 [mcnemar1947note].

    Example:
        >>> model = lambda w, x: x @ w  # class 1 is told by the last entry alone
        >>> x = jax.random.uniform(jax.random.key(1), (40, 3))
        >>> w = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
        >>> mark = lambda x, key: x.at[:, 2].set(1.0)
        >>> result = artifact_effect(
        ...     model, mark, w, x, 1, key=jax.random.key(0), controls=5)
        >>> float(result.flips.mean), result.is_exposed
        (1.0, True)
    """
    call = "artifact_effect"
    check_outside(call, "returns numbers to read", variables, inputs)
    check_key(call, key)
    target = checked_integer("target", target, 0, call=call)
    controls = checked_integer("controls", controls, 1, call=call)
    batch_size = checked_integer("batch_size", batch_size, 1, call=call)
    check_function("paste", paste, "paste(images, key) -> images", call=call)
    images = _images(inputs)
    n_images = len(images)
    if not n_images:
        nothing = np.full(4, np.nan)
        return _effect(Interval(nothing, nothing, nothing, np.zeros(4, int)), np.nan)
    model = jax.jit(apply_fn)

    def run(images: Any) -> tuple[np.ndarray, np.ndarray]:
        def batch(index: Any) -> Any:
            return model(variables, images[index])

        size = min(batch_size, n_images)
        logits = over_units(batch, n_images, size, is_inner=False)
        logits = _numbers(logits)
        return _log_odds(logits, target), logits.argmax(axis=1) == target

    _check_logits(jax.eval_shape(apply_fn, variables, images), target)
    _, was_target = run(images)
    pasted = _checked(paste(images, folded(key, 0)), images, "paste")
    pasted_odds, flips = run(pasted)
    others = np.flatnonzero(~was_target)
    is_changed = _changed(images, pasted)
    rises, control_flips = [], []
    for i in range(1, controls + 1):
        own = folded(key, i)
        if control is None:
            made = _crops(images, is_changed, others, own)
        else:
            made = _checked(control(images, own), images, "control")
        of_control = run(made)
        rises.append(pasted_odds - of_control[0])
        control_flips.append(of_control[1])
    is_known = control is not None or len(others) > 1
    rate = np.where(is_known, np.mean(control_flips, axis=0), np.nan)
    rise = np.where(is_known, np.mean(rises, axis=0), np.nan)
    columns = [flips, rate, flips - rate, rise]
    values = np.where(was_target[:, None], np.nan, np.stack(columns, axis=1))
    intervals = bootstrap(values, folded(key, controls + 1), confidence=confidence)
    p_value = mc_nemar(flips[others], control_flips[0][others]) if is_known else np.nan
    return _effect(intervals, p_value if len(others) else np.nan)


def mc_nemar(first: Any, second: Any) -> float:
    """Returns the p value of McNemar's exact test, of pairs of truth values.

    Args:
        first: a truth value of each item.
        second: another one of the same items.

    Example:
        >>> mc_nemar(np.array([True] * 5), np.array([False] * 5))
        0.0625
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    only = (first & ~second).sum(), (second & ~first).sum()
    n_pairs, smaller = int(sum(only)), int(min(only))
    ways = sum(math.comb(n_pairs, k) for k in range(smaller + 1))
    return min(1.0, 2 * ways / 2**n_pairs)


def _effect(intervals: Interval, p_value: float) -> ArtifactEffect:
    """The four columns of intervals, one by one."""
    flips, control, effect, odds = (
        Interval(*(part[i] for part in intervals)) for i in range(4)
    )
    return ArtifactEffect(flips, control, effect, odds, float(p_value))


def _log_odds(logits: np.ndarray, target: int) -> np.ndarray:
    """The logarithm of the odds of the target."""
    others = np.delete(logits, target, axis=1)
    return logits[:, target] - np.logaddexp.reduce(others, axis=1)


def _crops(images: Any, is_changed: Any, others: np.ndarray, key: Key) -> Any:
    """Images with the same place of another image that is not the target either."""
    if len(others) < 2:
        return images
    places = np.full(len(images), -1)
    places[others] = np.arange(len(others))
    # One of those that are left when the image itself is taken out.
    drawn = np.asarray(jax.random.randint(key, (len(images),), 0, len(others) - 1))
    donors = others[np.where((places >= 0) & (drawn >= places), drawn + 1, drawn)]
    return jnp.where(is_changed, images[donors], images)


def _changed(images: Any, pasted: Any) -> Any:
    """Which entries were pasted; of images which pixels."""
    is_changed = images != pasted
    return is_changed.any(axis=-1, keepdims=True) if images.ndim > 2 else is_changed


def _checked(made: Any, images: Any, name: str) -> Any:
    """What was pasted, in the dtype of the images."""
    if getattr(made, "shape", None) != images.shape:
        found = getattr(made, "shape", type(made).__name__)
        raise ValueError(
            f"artifact_effect: `{name}` returns images of the shape that it was given, "
            f"{images.shape}, and returned {found}."
        )
    return jnp.asarray(made).astype(images.dtype)


def _numbers(logits: Any) -> np.ndarray:
    """Logits in double precision; the largest of NaN would count as class 0."""
    logits = np.asarray(logits, np.float64)
    is_wrong = np.isnan(logits).any(axis=1)
    if is_wrong.any():
        raise FloatingPointError(
            f"artifact_effect: the logits of image {is_wrong.argmax()} (and "
            f"{is_wrong.sum() - 1} others) are not a number.\nLook whether the "
            "weights, the images and what is pasted are in order."
        )
    return logits


def _images(inputs: Any) -> Any:
    if not jax.tree_util.all_leaves([inputs]) or not np.ndim(inputs):
        raise TypeError(
            "artifact_effect: images are one array with the images on its first axis, "
            f"and are {type(inputs).__name__}."
        )
    return jnp.asarray(inputs)


def _check_logits(outputs: Any, target: int) -> None:
    """Raises unless the model returns logits, and the target is one of them."""
    shape = getattr(outputs, "shape", ())
    if len(shape) != 2 or shape[1] < 2:
        raise ValueError(
            "artifact_effect: the model returns logits (batch, classes) of at least "
            f"two classes, and returned {jax.tree.map(jnp.shape, outputs)}."
        )
    check_index(target, outputs.shape[1], "class")
