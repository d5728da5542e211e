"""`reasons`: whether a model decides by something that always lies at one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.attribution.contract import Attribution
from jaxinterp.checks import check_function, checked_integer, checked_share
from jaxinterp.keys import folded
from jaxinterp.trust.artifact_effect import ArtifactEffect, Paste, artifact_effect
from jaxinterp.trust.report import Check, Row, Subject
from jaxinterp.trust.spray import relevance_rows, spray

# Classes of fewer examples are not clustered, and smaller clusters not looked at.
SMALLEST_CLASS = 20
SMALLEST_CLUSTER = 5
_LEVEL = 0.05


# Pastes a suspected artefact of a class, `paste(images, label, key) -> images`.
PasteOfClass = Callable[[Any, int, Any], Any]


class _Class(NamedTuple):
    """What the explanations of one class mark.

    Attributes:
        label: the class.
        n: the number of its examples.
        pastes: what pastes each suspected artefact.
        note: what a reader of the report has to know.
    """

    label: int
    n: int
    pastes: list[Paste]
    note: str


def reasons(
    attribution_fn: Attribution,
    *,
    paste: PasteOfClass | None = None,
    area: float = 0.05,
    pool: int = 16,
    controls: int = 20,
) -> Check:
    """Checks that no class is decided by what always lies at one place.

    The explanations of each class, of images that the model gets right, are clustered
    by `spray`. If half of the mean positive relevance of a cluster lies in a small part
    of the image, what is there in the images of the cluster is a suspected artefact: it
    is pasted into images of other classes, from one that is drawn for each of them, see
    `artifact_effect`, and if it decides, the check fails. An artefact without a place
    of its own, such as a tint, is not found so: give `paste`. Where *objects* always
    lie at one place, they decide for a good reason, and you have to look. A method
    whose relevance follows the position of objects, such as LRP, makes clusters of
    positions: prefer `input_x_gradient`.

    Args:
        attribution_fn: an attribution function of images `(batch, height, width,
            channels)`.
        paste: a function `paste(images, label, key) -> images` of a suspected artefact,
            instead of what clusters mark.
        area: the largest share of the image in which half of the relevance may lie for
            it to have a place.
        pool: relevance is made coarse, to at most so many pixels a side.
        controls: how many controls each image gets.

    Returns:
        A check for `audit`, with a row for each class. The intervals of all effects
        hold together.

    Raises:
        TypeError: if `attribution_fn` is no function.
        ValueError: if a number is out of range; when called, if the examples are no
            images.

    References:
        Lapuschkin et al., 2019 [lapuschkin2019unmasking].

    Example:
        >>> model = lambda w, x: x.mean((1, 2)) @ w
        >>> check = reasons(ji.attribution.input_x_gradient(model))
        >>> check.__name__
        'reasons'
    """
    example = "attribute(variables, inputs, target, key)"
    check_function("attribution_fn", attribution_fn, example, call="reasons")
    area = checked_share("area", area, call="reasons")
    pool = checked_integer("pool", pool, 1, call="reasons")
    controls = checked_integer("controls", controls, 1, call="reasons")

    def check(subject: Subject) -> Iterator[Row]:
        shape = np.shape(subject.inputs)
        if len(shape) != 4:
            raise ValueError(
                "reasons: the examples are images (batch, height, width, channels), "
                f"and have shape {shape}."
            )
        labels = np.unique(subject.labels).tolist()
        if paste is None:
            classes = _suspicions(attribution_fn, subject, labels, area, pool)
        else:
            classes = [_Class(label, 0, [_bound(paste, label)], "") for label in labels]
        n_pastes = max(sum(len(one.pastes) for one in classes), 1)
        for one in classes:
            effects = [
                artifact_effect(
                    *(subject.apply_fn, function, subject.variables, subject.inputs),
                    one.label,
                    key=folded(subject.key, one.label, number),
                    controls=controls,
                    confidence=1 - _LEVEL / n_pastes,
                    batch_size=subject.batch_size,
                )
                for number, function in enumerate(one.pastes)
            ]
            yield _row(one, effects)

    check.__name__ = "reasons"
    return check


def _bound(paste: PasteOfClass, label: int) -> Paste:
    return lambda images, key: paste(images, label, key)


def _suspicions(
    attribution_fn: Attribution,
    subject: Subject,
    labels: list[int],
    area: float,
    pool: int,
) -> list[_Class]:
    """What the clusters of each class mark."""

    def explain(variables: Any, inputs: Any, labels: Any) -> Any:
        return attribution_fn(variables, inputs, labels, subject.key)

    is_right = subject.predictions() == subject.labels
    relevance = np.asarray(subject.each(explain, subject.inputs, subject.labels))
    images, classes = np.asarray(subject.inputs), []
    for label in labels:
        rows = np.flatnonzero(is_right & (subject.labels == label))
        if len(rows) < SMALLEST_CLASS:
            note = f"fewer than {SMALLEST_CLASS} examples that it gets right"
            classes.append(_Class(label, 0, [], note))
            continue
        found = spray(relevance[rows], key=folded(subject.key, label), pool=pool)
        if not found.n_strategies:  # all explanations are the same: one cluster
            found = found._replace(labels=np.zeros(len(rows), int))
        pastes, shares = [], []
        for number in range(found.labels.max() + 1):
            inside = rows[found.labels == number]
            if len(inside) < SMALLEST_CLUSTER:
                continue
            mask = _marked(relevance[inside], images.shape[1:3], pool)
            shares.append(mask.mean())
            if 0 < mask.mean() <= area:
                pastes.append(_paste_of(mask, images[inside]))
        if not found.n_strategies and not pastes:
            note = "not analyzable: all explanations are the same"
            classes.append(_Class(label, 0, [], note))
            continue
        smallest = min(shares, default=np.nan)
        note = (
            f"strategies: {found.labels.max() + 1}; half of the relevance lies on "
            f"{smallest:.1%} of the image"
        )
        classes.append(_Class(label, len(rows), pastes, note))
    return classes


def _marked(relevance: np.ndarray, shape: tuple[int, int], pool: int) -> np.ndarray:
    """The smallest part of an image with half of the mean positive relevance."""
    mean = np.maximum(relevance_rows(relevance, pool).mean(axis=0), 0)
    order = np.argsort(-mean)
    before = np.cumsum(mean[order]) - mean[order]
    mask = np.zeros(mean.shape, bool)
    mask[order[before < mean.sum() / 2]] = True
    coarse = mask.reshape([min(pool, side) for side in shape])
    sides = zip(coarse.shape, shape, strict=True)
    # A pixel belongs to the stretch that `spray` took it into.
    places = [
        np.searchsorted(np.arange(few) * many // few, np.arange(many), "right") - 1
        for few, many in sides
    ]
    return coarse[np.ix_(*places)][..., None]


def _paste_of(mask: np.ndarray, members: np.ndarray) -> Paste:
    """Pastes a part of an image that is drawn from a cluster, for each image anew."""

    def paste(images: Any, key: Any) -> Any:
        donors = jax.random.randint(key, (len(images),), 0, len(members))
        return jnp.where(mask[None], jnp.asarray(members)[donors], images)

    return paste


def _row(one: _Class, effects: list[ArtifactEffect]) -> Row:
    """The largest effect of what was suspected."""
    claim = f"class {one.label} is not decided by a fixed place"
    threshold = "effect below 2 points, or 0 in the interval"
    defined = [effect for effect in effects if not np.isnan(effect.effect.mean)]
    if not defined:
        verdict = "pass" if one.n and not effects else "not applicable"
        return Row(claim, verdict, n=one.n, threshold=threshold, note=one.note)
    worst = max(defined, key=lambda effect: (effect.is_exposed, effect.effect.mean))
    mean, low, high, n_valid = worst.effect
    flips = f"flips {worst.flips.mean:.1%}, controls {worst.control_flips.mean:.1%}"
    return Row(
        claim,
        "fail" if worst.is_exposed else "pass",
        *(float(mean), float(low), float(high), int(n_valid)),
        threshold,
        f"{flips}; {one.note}" if one.note else flips,
    )
