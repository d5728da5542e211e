"""A model that takes images, made of one that takes preprocessed inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from jaxinterp.loop.static import hashable
from jaxinterp.tracing.recognition.addresses import PREPROCESS
from jaxinterp.types import ApplyFn, Images, Variables


@dataclasses.dataclass(frozen=True)
class WithPreprocess:
    """A model behind its preprocessing; equal ones share one compiled program.

    Attributes:
        apply_fn: the model, `apply_fn(variables, inputs, ...) -> outputs`.
        preprocess: the function from images to inputs of the model.
    """

    apply_fn: ApplyFn
    preprocess: Callable[[Images], Any]

    def __post_init__(self) -> None:
        name = getattr(self.apply_fn, "__name__", type(self.apply_fn).__name__)
        object.__setattr__(self, "__name__", name)
        object.__setattr__(self, "__doc__", self.apply_fn.__doc__)

    def __call__(
        self, variables: Variables, images: Images, *args: Any, **kwargs: Any
    ) -> Any:
        """Returns the outputs of the model for images.

        Args:
            variables: the weights of the model.
            images: the images, with the batch on the first axis.
            *args: further arguments of the model.
            **kwargs: further keyword arguments of the model.
        """
        with jax.named_scope(PREPROCESS):
            inputs = self.preprocess(images)
        return self.apply_fn(variables, inputs, *args, **kwargs)


def with_preprocess(
    apply_fn: ApplyFn, preprocess: Callable[[Images], Any]
) -> WithPreprocess:
    r"""Puts a preprocessing in front of a model, so that the model takes images.

    $$f'(w, x) = f(w, p(x))$$

    Everything in `jaxinterp.featurevis` makes or reads images in [0, 1]; most networks
    take inputs that are scaled and shifted. The sites of the model keep their
    addresses; that of the preprocessing is `preprocess`, or several begin with it.

    Args:
        apply_fn: the model $f$, `apply_fn(variables, inputs, ...) -> outputs`.
        preprocess: the function $p$ from images `(batch, ...)` to inputs of the model,
            such as the `preprocess` of a loaded model. To maximize an objective it has
            to have a derivative: it must not round to integers.

    Returns:
        The model of images. Two made of the same model and of equal functions are
        equal and share one compiled program; what cannot be hashed is compared by
        identity.

    Raises:
        TypeError: if one of the two is not a function.

    Example:
        >>> model = with_preprocess(lambda w, x: w * x, lambda images: 2 * images - 1)
        >>> model(3.0, jnp.array([[0.0, 1.0]])).tolist()
        [[-3.0, 3.0]]
    """
    for name, function in (("apply_fn", apply_fn), ("preprocess", preprocess)):
        if not callable(function):
            raise TypeError(
                f"with_preprocess: `{name}` is a function, and is {function!r}.\nWrite "
                "`with_preprocess(model.apply, lambda images: 2 * images - 1)`."
            )
    return WithPreprocess(hashable(apply_fn), hashable(preprocess))
