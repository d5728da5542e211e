"""Style transfer: the content of one image in the style of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import optax

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.comparisons.match import match
from jaxinterp.featurevis.comparisons.style import gram, style
from jaxinterp.featurevis.editing.images import activations_of, checked_batch
from jaxinterp.featurevis.optimize.maximize import ADAM, REDIRECTED, Result, maximize
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.from_image import from_image
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.featurevis.transforms.transform import Transform
from jaxinterp.objectives.objective import Where
from jaxinterp.objectives.reader import Preprocess
from jaxinterp.rules.composite import Composite
from jaxinterp.types import ApplyFn


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
    content, styles = checked_batch(content), checked_batch(styles)
    for name, image in (("content", content), ("styles", styles)):
        if image.shape[:1] != (1,):
            raise ValueError(
                f"style_transfer: `{name}` is one image with the batch in front, (1, "
                f"height, width, channels), and has shape {image.shape}."
            )
    parametrization = parametrization or fourier(content.shape[1:])
    shown = activations_of(apply_fn, (content_site,), variables, content, preprocess)
    painted = activations_of(
        apply_fn, tuple(style_sites), variables, styles, preprocess
    )
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
