"""What the tour looks at: an image classifier and its images."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxinterp as ji
from jaxinterp.types import ApplyFn, Variables

COUNT = 256
LEAST = 64


class Subject(NamedTuple):
    """An image classifier and its images.

    Attributes:
        apply_fn: the model, `apply_fn(variables, images) -> logits`.
        variables: its weights.
        images: images that it was not trained on, `(count, height, width, channels)`
            with one channel or three, in [0, 1]; a hundred or more. A model that takes
            other values goes behind `ji.models.with_preprocess`.
        labels: the class of each image, integers `(count,)`.
        class_names: the name of each class.
    """

    apply_fn: ApplyFn
    variables: Variables
    images: Any
    labels: Any
    class_names: Sequence[str]


def shipped() -> Subject:
    """Returns the network of this package that names an outlined shape."""
    apply_fn, variables, draw = ji.models.pretrained("shapes_cnn")
    data = draw(jax.random.key(0), COUNT)
    return Subject(apply_fn, variables, data.images, data.labels, data.class_names)


def built(name: str) -> Subject:
    """Returns the subject of a user.

    Args:
        name: where a function without arguments is that returns a `Subject`,
            `"your_module:build"`.

    Raises:
        SystemExit: if there is no such function, or it returns something else.
    """
    module, _, function = name.partition(":")
    try:
        build = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SystemExit(
            f"--model {name}: {error}.\nWrite `--model your_module:build`, with "
            "`your_module.py` in this folder or installed."
        ) from error
    subject = build()
    if not isinstance(subject, Subject):
        raise SystemExit(
            f"--model {name}: the function returned {type(subject).__name__}, not an "
            "`experiments.tour.Subject`."
        )
    return checked(subject)


def checked(subject: Subject) -> Subject:
    """Returns a subject whose parts fit one another, as arrays of NumPy.

    Args:
        subject: the subject.

    Raises:
        SystemExit: if they do not.
    """
    images, labels = np.asarray(subject.images), np.asarray(subject.labels)
    names = tuple(map(str, subject.class_names))
    problem = _problem_of_images(images) or _problem_of_labels(images, labels, names)
    if problem:
        raise SystemExit(f"The subject of the tour: {problem}.")
    return subject._replace(images=images, labels=labels, class_names=names)


def _problem_of_images(images: np.ndarray) -> str | None:
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        return f"`images` has shape {images.shape}, not (count, height, width, 1 or 3)"
    if len(images) < LEAST:
        return f"there are {len(images)} images, and at least {LEAST} are needed"
    if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
        return "`images` are not within [0, 1]"
    return None


def _problem_of_labels(
    images: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> str | None:
    is_integer = np.issubdtype(labels.dtype, np.integer)
    if labels.shape != images.shape[:1] or not is_integer:
        return (
            f"`labels` are {labels.dtype} of shape {labels.shape}, not one integer for "
            f"each of {len(images)} images"
        )
    if not 0 <= labels.min() <= labels.max() < len(names):
        return f"labels lie outside of the {len(names)} class names"
    return None
