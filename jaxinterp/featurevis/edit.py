r"""Pictures made of other pictures: inversion, caricature, accentuation, style.

Each function captures what a model makes of the given images, states an objective about
it, and leaves the rest to `maximize`. For an objective or options beyond theirs, write
that objective and call `maximize`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinterp.featurevis.compare import caricature, gram, match, style
from jaxinterp.featurevis.fourier import fourier
from jaxinterp.featurevis.maximize import ADAM, REDIRECTED, Result, maximize
from jaxinterp.featurevis.model import Preprocess, reader
from jaxinterp.featurevis.names import as_objective
from jaxinterp.featurevis.objective import Objective, View, Where, custom
from jaxinterp.featurevis.parametrization import (
    Parametrization,
    check_range,
    from_image,
)
from jaxinterp.featurevis.regularizers import total_variation
from jaxinterp.featurevis.scoring import scorer
from jaxinterp.featurevis.transform import Transform
from jaxinterp.loop import is_traced
from jaxinterp.rules.composite import Composite
from jaxinterp.trace.transform import ApplyFn


def invert(
    apply_fn: ApplyFn,
    site: Where,
    variables: Any,
    images: Any,
    *,
    key: Any,
    parametrization: Parametrization | None = None,
    transforms: Sequence[Transform] = (),
    preprocess: Preprocess | None = None,
    smoothness: float = 1e-4,
    steps: int = 512,
    optimizer: optax.GradientTransformation = ADAM,
    warmup: Composite | None = REDIRECTED,
    batch_size: int | None = None,
    progress: bool = True,
) -> Result:
    r"""Finds pictures that a layer cannot tell from given images.

    $$\max_x -\|a(x) - a(x_0)\|^2 / \|a(x_0)\|^2 - \lambda\, \mathrm{TV}(x)$$

    What the pictures and the images do not share is what the layer has forgotten.

    Args:
        apply_fn: the model.
        site: the layer $a$.
        variables: the weights of the model.
        images: the images $x_0$, `(batch, ...)` in [0, 1].
        key: of the noise to start from, and of the transforms.
        parametrization: of the pictures; `fourier` in the shape of the images by
            default.
        transforms: what pictures have to withstand; their activation has to keep its
            shape.
        preprocess: from pictures in [0, 1] to inputs of the model.
        smoothness: weight $\lambda$ of the total variation.
        steps: number of steps.
        optimizer: as in `maximize`.
        warmup: as in `maximize`.
        batch_size: as in `maximize`.
        progress: whether to show a progress bar.

    Returns:
        A `Result` with one picture for each image.

    Raises:
        AddressError: if the site does not exist.
        ValueError: if the images are not floats in [0, 1], or as `maximize` does.

    References:
        Mahendran & Vedaldi, 2015, eq. 1 [mahendran2015understanding].

    Example:
        >>> from jaxinterp.featurevis import pixels
        >>> images = jnp.array([[0.2, 0.9]]).reshape(1, 2, 1)
        >>> result = invert(lambda w, x: jnp.tanh(x), "tanh", None, images,
        ...                 key=jax.random.key(0), parametrization=pixels((2, 1)))
        >>> [round(value, 2) for value in result.images.ravel().tolist()]
        [0.2, 0.9]
    """
    images = _checked(images)
    target = _activations(apply_fn, (site,), variables, images, preprocess)[site]
    objective = match(site, target)
    if is_traced(smoothness) or smoothness:
        objective = objective - smoothness * total_variation()
    return maximize(
        apply_fn,
        objective,
        variables,
        key=key,
        parametrization=parametrization or fourier(images.shape[1:]),
        transforms=transforms,
        preprocess=preprocess,
        steps=steps,
        optimizer=optimizer,
        warmup=warmup,
        batch_size=batch_size,
        progress=progress,
    )


def caricatures(
    apply_fn: ApplyFn,
    site: Where,
    variables: Any,
    images: Any,
    *,
    key: Any,
    parametrization: Parametrization | None = None,
    transforms: Sequence[Transform] = (),
    preprocess: Preprocess | None = None,
    cosine_power: float = 1.0,
    steps: int = 512,
    optimizer: optax.GradientTransformation = ADAM,
    warmup: Composite | None = REDIRECTED,
    batch_size: int | None = None,
    progress: bool = True,
) -> Result:
    r"""Draws caricatures: exaggerates what a layer sees in given images.

    $$\max_x \; (a(x) \cdot a(x_0))\,\max(0.1, \cos(a(x), a(x_0)))^p$$

    Args:
        apply_fn: the model.
        site: the layer $a$.
        variables: the weights of the model.
        images: the images $x_0$, `(batch, ...)` in [0, 1].
        key: of the noise to start from, and of the transforms.
        parametrization: of the pictures; `fourier` in the shape of the images by
            default.
        transforms: what pictures have to withstand; their activation has to keep its
            shape.
        preprocess: from pictures in [0, 1] to inputs of the model.
        cosine_power: the exponent $p$; without it, large activations count for more
            than similar ones.
        steps: number of steps.
        optimizer: as in `maximize`.
        warmup: as in `maximize`.
        batch_size: as in `maximize`.
        progress: whether to show a progress bar.

    Returns:
        A `Result` with one picture for each image.

    Raises:
        AddressError: if the site does not exist.
        ValueError: if the images are not floats in [0, 1], or as `maximize` does.

    References:
        Olah et al., 2018, "What Does the Network See?" [olah2018building].

    Example:
        >>> from jaxinterp.featurevis import pixels
        >>> images = jnp.array([[0.4, 0.6]]).reshape(1, 2, 1)
        >>> result = caricatures(lambda w, x: jnp.tanh(x - 0.5), "tanh", None, images,
        ...                      key=jax.random.key(0), steps=100,
        ...                      parametrization=pixels((2, 1)))
        >>> result.images.round(1).ravel().tolist()
        [0.0, 1.0]
    """
    images = _checked(images)
    target = _activations(apply_fn, (site,), variables, images, preprocess)[site]
    return maximize(
        apply_fn,
        caricature(site, target, cosine_power=cosine_power),
        variables,
        key=key,
        parametrization=parametrization or fourier(images.shape[1:]),
        transforms=transforms,
        preprocess=preprocess,
        steps=steps,
        optimizer=optimizer,
        warmup=warmup,
        batch_size=batch_size,
        progress=progress,
    )


def accentuate(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Any,
    images: Any,
    *,
    key: Any,
    site: Where | None = None,
    weight: float = 1.0,
    parametrization: Parametrization | None = None,
    transforms: Sequence[Transform] = (),
    preprocess: Preprocess | None = None,
    steps: int = 128,
    optimizer: optax.GradientTransformation = ADAM,
    warmup: Composite | None = REDIRECTED,
    progress: bool = True,
) -> Result:
    r"""Edits images so that they drive an objective more and stay what they are.

    $$\max_x \; s(x) / |s(x_0)| - \lambda \|a(x) - a(x_0)\|^2 / \|a(x_0)\|^2$$

    starting from $x_0$. What becomes clearer in an image is where and what in it drives
    the objective. The objective is divided by its size on the image, so that one weight
    fits all units.

    Args:
        apply_fn: the model.
        objective: $s$, of one unit.
        variables: the weights of the model.
        images: $x_0$, `(batch, ...)` in [0, 1].
        key: of the transforms.
        site: an earlier layer $a$ where the images must stay alike; by default the
            pixels.
        weight: $\lambda$, how much they must.
        parametrization: of the pictures; `fourier` in the shape of the images by
            default.
        transforms: what pictures have to withstand; the activation at `site` has to
            keep its shape.
        preprocess: from pictures in [0, 1] to inputs of the model.
        steps: number of steps.
        optimizer: as in `maximize`.
        warmup: as in `maximize`.
        progress: whether to show a progress bar.

    Returns:
        A `Result` with one picture for each image.

    Raises:
        AddressError: if the site does not exist.
        ValueError: if the objective has several units, the images are not floats in
            [0, 1], or as `maximize` does.

    References:
        Hamblin et al., 2024, section 3 [hamblin2024feature].

    Example:
        >>> from jaxinterp.featurevis import pixels
        >>> images = jnp.full((1, 2, 1), 0.5)
        >>> template = jnp.array([[1.0], [-1.0]])
        >>> result = accentuate(
        ...     lambda w, x: jnp.exp(x.reshape(-1, 2) @ w), "exp:0", template, images,
        ...     key=jax.random.key(0), parametrization=pixels((2, 1)))
        >>> bool(result.images[0, 0, 0] > 0.5 > result.images[0, 1, 0])
        True
    """
    images, objective = _checked(images), as_objective(objective)
    if np.ndim(weight):
        raise ValueError(
            "accentuate: `weight` is one number for all images, and has shape "
            f"{np.shape(weight)}. Call it for each."
        )
    parametrization = parametrization or fourier(images.shape[1:])
    target = images
    if site is not None:
        target = _activations(apply_fn, (site,), variables, images, preprocess)[site]
    size = jnp.abs(_scores(apply_fn, objective, variables, images, preprocess))
    scale = _PerPicture(jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), 1)[None])
    return maximize(
        apply_fn,
        objective * scale + weight * _Unchanged(site, target[None]),
        variables,
        key=key,
        parametrization=from_image(parametrization, images),
        transforms=transforms,
        preprocess=preprocess,
        steps=steps,
        count=len(images),
        optimizer=optimizer,
        warmup=warmup,
        progress=progress,
    )


def style_transfer(
    apply_fn: ApplyFn,
    content_site: Where,
    style_sites: Sequence[Where],
    variables: Any,
    content: Any,
    styles: Any,
    *,
    key: Any,
    style_weight: float = 1.0,
    parametrization: Parametrization | None = None,
    transforms: Sequence[Transform] = (),
    preprocess: Preprocess | None = None,
    steps: int = 512,
    optimizer: optax.GradientTransformation = ADAM,
    warmup: Composite | None = REDIRECTED,
    progress: bool = True,
) -> Result:
    r"""Paints the content of one image in the style of another.

    $$\max_x -\frac{\|a(x) - a(c)\|^2}{\|a(c)\|^2}
      - w \sum_l \frac{\|G_l(x) - G_l(s)\|^2}{\|G_l(s)\|^2}$$

    with the Gram matrices $G$ of some layers, each divided by its own size so that all
    layers count alike (Gatys et al. weigh them by hand). It starts from the content.

    Args:
        apply_fn: the model.
        content_site: the layer $a$.
        style_sites: the layers $l$.
        variables: the weights of the model.
        content: the image $c$, `(1, height, width, channels)` in [0, 1].
        styles: the image $s$, likewise; of any size that the model takes.
        key: of the transforms.
        style_weight: $w$.
        parametrization: of the picture; `fourier` in the shape of the content by
            default.
        transforms: what the picture has to withstand; its activation has to keep its
            shape.
        preprocess: from pictures in [0, 1] to inputs of the model.
        steps: number of steps.
        optimizer: as in `maximize`.
        warmup: as in `maximize`.
        progress: whether to show a progress bar.

    Returns:
        A `Result` with one picture.

    Raises:
        AddressError: if a site does not exist.
        ValueError: if there is not one image of each, of floats in [0, 1], or as
            `maximize` does.

    References:
        Gatys et al., 2016, eqs. 1, 5 and 7 [gatys2016image].

    Example:
        >>> from jaxinterp.featurevis import pixels
        >>> content, painting = jnp.full((2, 1, 4, 4, 3), 0.5).at[1].set(0.9)
        >>> apply_fn = lambda w, x: jnp.exp(jnp.tanh(x))
        >>> result = style_transfer(apply_fn, "tanh", ["tanh"], None, content, painting,
        ...                         key=jax.random.key(0), style_weight=100.0,
        ...                         parametrization=pixels((4, 4, 3)), steps=200)
        >>> bool((result.images > 0.8).all())
        True
    """
    if isinstance(style_sites, str):
        raise TypeError(
            "style_transfer: `style_sites` are several, and were one string. Write "
            f"`[{style_sites!r}]`."
        )
    content, styles = _checked(content), _checked(styles)
    for name, image in (("content", content), ("styles", styles)):
        if image.shape[:1] != (1,):
            raise ValueError(
                f"style_transfer: `{name}` is one image with the batch in front, (1, "
                f"height, width, channels), and has shape {image.shape}."
            )
    parametrization = parametrization or fourier(content.shape[1:])
    shown = _activations(apply_fn, (content_site,), variables, content, preprocess)
    painted = _activations(apply_fn, tuple(style_sites), variables, styles, preprocess)
    objective = match(content_site, shown[content_site])
    for site, activation in painted.items():
        # `style` divides by the number of channels squared; here it is by the size.
        size = jnp.square(gram(activation)).sum() / activation.shape[-1] ** 2
        if not is_traced(size) and not size:
            raise ValueError(
                f"style_transfer: nothing of the style excites {site!r}; its Gram "
                "matrix is zero. Leave the site out."
            )
        objective = objective + style_weight / size * style(site, activation)
    return maximize(
        apply_fn,
        objective,
        variables,
        key=key,
        parametrization=from_image(parametrization, content),
        transforms=transforms,
        preprocess=preprocess,
        steps=steps,
        optimizer=optimizer,
        warmup=warmup,
        progress=progress,
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _PerPicture(Objective):
    """A number for each picture of the only unit, `(1, pictures)`."""

    value: Any

    def __call__(self, view: View) -> Any:
        return self.value


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Unchanged(Objective):
    """How little each picture differs from its own target, `(1, pictures, ...)`."""

    site: Where | None = dataclasses.field(metadata={"static": True})
    target: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        return () if self.site is None else (self.site,)

    def __call__(self, view: View) -> Any:
        seen = view.images if self.site is None else view.activations[self.site]
        axes = tuple(range(1, seen.ndim))
        change = jnp.square(seen - self.target).sum(axes)
        size = jnp.square(self.target).sum(axes)
        return -change / jnp.where(size > 0, size, 1)


def _checked(images: Any) -> Any:
    images = jnp.asarray(images)
    if images.ndim < 2 or not images.shape[0]:
        raise ValueError(
            "There must be at least one image, with the batch in front, (batch, height,"
            f" width, channels); the images have shape {images.shape}."
        )
    check_range(images)
    return images


def _activations(
    apply_fn: ApplyFn,
    sites: tuple[Where, ...],
    variables: Any,
    images: Any,
    preprocess: Preprocess | None,
) -> dict[Where, Any]:
    """What the model makes of images, at some sites."""
    objective = custom(lambda view: jnp.zeros(()), *sites)
    image = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
    read, _ = reader(apply_fn, objective, variables, image, preprocess)
    return jax.jit(lambda w, x: read(w, x)[0])(variables, images)


def _scores(
    apply_fn: ApplyFn,
    objective: Objective,
    variables: Any,
    images: Any,
    preprocess: Preprocess | None,
) -> Any:
    """An objective of one unit, of images."""
    score, bound = scorer(
        apply_fn, objective, variables, images, preprocess, has_places=False
    )
    if score.count != 1:
        raise ValueError(
            "accentuate() takes an objective of one unit, and this one has "
            f"{score.count}. Call it for each of them."
        )
    return jax.jit(score)(variables, bound, images).pictures[0]
