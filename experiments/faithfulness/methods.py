"""The methods that are compared, on images and on tokens alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp

import jaxinterp as ji
from experiments.faithfulness.subjects import PATCH, Subject
from jaxinterp.attribution import Attribution
from jaxinterp.rules import Composite, Gamma, Gradient

# Gradients that are averaged, under noise of a share of the range, and on a path.
SAMPLES = 25
NOISE = 0.1
STEPS = 32
# Of convolutions and of dense layers, as `gammas.py` found them: of images, of tokens.
GAMMAS, GAMMAS_OF_TOKENS = (1.0, 0.25), (0.0, 0.25)

a, rules = ji.attribution, ji.rules


def methods(subject: Subject) -> dict[str, Attribution]:
    """Returns the methods by name; each attributes to pixels or to tokens.

    Args:
        subject: the network and its examples. What compares with a baseline takes the
            one that replaces features in the curves.
    """
    gammas = GAMMAS if subject.embedding is None else GAMMAS_OF_TOKENS
    found = {
        name: explained_by(composite, subject)
        for name, composite in composites(gammas).items()
    }
    backward = {"input x gradient": a.input_x_gradient, "gradient": a.gradient}
    path = partial(a.integrated_gradients, steps=STEPS)
    backward["integrated gradients"] = partial(path, baseline=_nothing(subject))
    backward["integrated gradients from zeros"] = path
    found |= {name: _backward(make, subject) for name, make in backward.items()}
    found["gradient norm"] = _norm(a.gradient(subject.apply_fn, at=subject.embedding))
    found["SmoothGrad norm"] = _norm(_smooth(subject))
    found["input x SmoothGrad"] = _times_inputs(_smooth(subject), subject)
    for name, rollout in (
        ("attention rollout", a.attention_rollout),
        ("gradient x attention rollout", a.attention_grad_rollout),
    ):
        rolled = rollout(subject.apply_fn, position=subject.position)
        found[name] = _of_positions(rolled, subject)
    if subject.embedding is not None:
        found["the later, the more"] = _later
    size = PATCH if subject.embedding is None else 1
    found["occlusion"] = a.occlusion(
        subject.apply_fn, size=size, baseline=subject.baseline
    )
    return found


def _later(variables: Any, inputs: Any, target: Any = None, key: Any = None) -> Any:
    """A baseline that knows no network: the next token depends on the last ones."""
    return jnp.broadcast_to(jnp.arange(inputs.shape[1], dtype=float), inputs.shape)


def explained_by(composite: Composite, subject: Subject) -> Attribution:
    """Returns LRP of pixels, or of tokens.

    Args:
        composite: which site gets which rule.
        subject: the network.
    """
    return _backward(partial(a.lrp, composite=composite), subject)


def composites(gammas: tuple[float, float]) -> dict[str, Composite]:
    """Returns the composites that are compared, by name.

    Args:
        gammas: of convolutions and of dense layers, of those with gammas.
    """
    convolution, dense = (Gamma(gamma) for gamma in gammas)
    lines = [(ji.of_role("convolution"), convolution), (ji.of_role("dense"), dense)]
    plain_norms = [(ji.of_role("normalization"), Gradient())]
    return {
        "AttnLRP": rules.attn_lrp(),
        "AttnLRP, gamma": lines + rules.attn_lrp(),
        "AttnLRP, plain norms": plain_norms + rules.attn_lrp(),
        "CP-LRP": rules.cp_lrp(),
        "CP-LRP, gamma": lines + rules.cp_lrp(),
    }


def _backward(make: Callable[..., Attribution], subject: Subject) -> Attribution:
    """A method that goes back to pixels, or to tokens, whose features are added up."""
    attribution_fn = make(subject.apply_fn, at=subject.embedding)
    return attribution_fn if subject.embedding is None else a.per_token(attribution_fn)


def _nothing(subject: Subject) -> Any:
    """What means nothing, where the network is explained."""
    if subject.embedding is None:
        return subject.baseline
    encode, _ = ji.split(subject.apply_fn, subject.embedding)
    return encode(subject.variables, subject.replaced)


def _smooth(subject: Subject) -> Attribution:
    """The mean gradient under noise, of pixels or of the embedding of tokens."""
    settings: dict[str, Any] = {"samples": SAMPLES, "noise_level": NOISE}
    if subject.embedding is None:
        return a.smooth(a.gradient(subject.apply_fn), **settings)
    encode, decode = ji.split(subject.apply_fn, subject.embedding)

    def attribute(
        variables: Any, inputs: Any, target: Any = None, key: Any = None
    ) -> Any:
        gradient = a.gradient(lambda v, x: decode(v, x, inputs))
        embedded = encode(variables, inputs)
        return a.smooth(gradient, **settings)(variables, embedded, target, key)

    return attribute


def _norm(attribution_fn: Attribution) -> Attribution:
    """The squared norm of the slopes of each pixel or token, of which no sign is left.

    Those of the pixels of a patch add up to that of the patch.
    """

    def attribute(
        variables: Any, inputs: Any, target: Any = None, key: Any = None
    ) -> Any:
        slopes = attribution_fn(variables, inputs, target, key)
        return jnp.square(slopes).sum(axis=-1)

    return attribute


def _times_inputs(attribution_fn: Attribution, subject: Subject) -> Attribution:
    """Slopes times what they are the slopes of, added up for each pixel or token."""

    def attribute(
        variables: Any, inputs: Any, target: Any = None, key: Any = None
    ) -> Any:
        slopes = attribution_fn(variables, inputs, target, key)
        if subject.embedding is None:
            return (slopes * inputs).sum(axis=-1)
        encode, _ = ji.split(subject.apply_fn, subject.embedding)
        return (slopes * encode(variables, inputs)).sum(axis=-1)

    return attribute


def _of_positions(attribution_fn: Attribution, subject: Subject) -> Attribution:
    """What positions have got: tokens are positions, and patches follow the first."""
    if subject.embedding is not None:
        return attribution_fn

    def attribute(
        variables: Any, inputs: Any, target: Any = None, key: Any = None
    ) -> Any:
        patches = attribution_fn(variables, inputs, target, key)[:, 1:]
        rows, columns = inputs.shape[1] // PATCH, inputs.shape[2] // PATCH
        grid = patches.reshape(-1, rows, columns)
        return grid.repeat(PATCH, axis=1).repeat(PATCH, axis=2)

    return attribute
