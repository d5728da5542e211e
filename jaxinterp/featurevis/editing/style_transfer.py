"""Style transfer: the content of one image in the style of another."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.comparisons.match import match
from jaxinterp.featurevis.comparisons.style import gram, style
from jaxinterp.featurevis.editing.problem import (
    Problem,
    activations_of,
    checked_batch,
)
from jaxinterp.featurevis.parametrizations.fourier import fourier
from jaxinterp.featurevis.parametrizations.from_image import from_image
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.types import ApplyFn, Images, Sites, Variables


def style_transfer(
    apply_fn: ApplyFn,
    content_site: Sites,
    style_sites: Sequence[Sites],
    variables: Variables,
    content: Images,
    styles: Images,
    *,
    style_weight: float = 1.0,
    parametrization: Parametrization | None = None,
) -> Problem:
    r"""Looks for the content of one image in the style of another.

    $$\max_x -\frac{\|a(x) - a(c)\|^2}{\|a(c)\|^2}
      - w \sum_l \frac{\|G_l(x) - G_l(s)\|^2}{\|G_l(s)\|^2}$$

    with the Gram matrices $G$ of some layers, each divided by its own size so that all
    layers count alike (Gatys et al. weigh them by hand). It starts from the content.

    Args:
        apply_fn: the model.
        content_site: the layer whose activation $a$ keeps the content.
        style_sites: the layers $l$ whose Gram matrices are the style.
        variables: the weights of the model.
        content: the image $c$, `(1, height, width, channels)` in [0, 1].
        styles: the image $s$, `(1, height, width, channels)` in [0, 1], of any size
            that the model takes.
        style_weight: $w$, the weight of the style beside the content.
        parametrization: the parametrization of the new image; `fourier` in the shape
            of the content by default.

    Returns:
        A `Problem` for `maximize`, of one image. Under transforms the activation at
        `content_site` has to keep its shape.

    Raises:
        AddressError: if a site does not exist.
        TypeError: if `style_sites` is one string.
        ValueError: if there is not one image of each, of floats in [0, 1], or nothing
            of the style excites a site.

    References:
        Gatys et al., 2016, eqs. 1, 5 and 7 [gatys2016image].

    Example:
        >>> from jaxinterp.featurevis import maximize, pixels
        >>> content, painting = jnp.full((2, 1, 4, 4, 3), 0.5).at[1].set(0.9)
        >>> model = lambda w, x: jnp.exp(jnp.tanh(x))
        >>> problem = style_transfer(
        ...     model, "tanh", ["tanh"], None, content, painting, style_weight=100.0,
        ...     parametrization=pixels((4, 4, 3)))
        >>> result = maximize(model, variables=None, key=jax.random.key(0), steps=200,
        ...                   **problem._asdict())
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
    target = activations_of(apply_fn, (content_site,), variables, content)
    targets = activations_of(apply_fn, tuple(style_sites), variables, styles)
    objective = match(content_site, target[content_site])
    for site, activation in targets.items():
        # `style` divides by the number of channels squared; here it is by the size.
        size = jnp.square(gram(activation)).sum() / activation.shape[-1] ** 2
        if not is_traced(size) and not size:
            raise ValueError(
                f"style_transfer: nothing of the style excites {site!r}; its Gram "
                "matrix is zero. Leave the site out."
            )
        objective = objective + style_weight / size * style(site, activation)
    start = from_image(parametrization or fourier(content.shape[1:]), content)
    return Problem(objective, start, 1)
