"""Maps of what a layer's channels have in common; no score is explained.

$A$ is the activation at a site, with $A_{c,p}$ that of channel $c$ at position $p$.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.backward import shaped, trace_to_sites
from jaxinterp.attribution.contract import Attribution, check_inputs, method
from jaxinterp.attribution.maps.channels import check_positions, positions_of, resized
from jaxinterp.checks import checked_real
from jaxinterp.fit.factorize import principal_direction
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.split import check_can_start
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def eigen_cam(apply_fn: ApplyFn, *, at: Sites, resize: bool = True) -> Attribution:
    r"""Attributes to positions by the first principal component of a layer's channels.

    $$L_p = \sum_c v_c\,A_{c,p}, \quad v = \mathop{\mathrm{argmax}}_{\lVert v \rVert =
    1} \sum_p \Big(\sum_c v_c\,A_{c,p}\Big)^2$$

    It is the projection that keeps most of the activation, about zero: no mean is
    taken away. The sign is that of the mean activation, $\sum_p L_p \ge 0$, so that
    after a relu no entry is negative. No class is explained: the map is the same for
    every output. Cost: one forward pass, and a singular value decomposition of
    positions times channels.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are combined, usually the last convolution or the
            activation after it. Channels may be first or last. For a glob or a
            selector a mapping from address to map is returned.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.

    Returns:
        An attribution function, which needs no target, in the units of the activation.
        With `resize` the map has the shape of the inputs: all channels of a pixel are
        equal, and add up to it.

    Raises:
        ValueError: when called, if the activation has no positions or is inside a loop,
            or if with `resize` its positions have another number of axes than those of
            the inputs, or there are several inputs.

    References:
        Muhammad and Yeasin, 2020 [muhammad2020eigencam]; the sign is ours.

    Example:
        >>> model = lambda w, x: jnp.maximum(x, 0).mean((1, 2))
        >>> attribute = eigen_cam(model, at="relu", resize=False)
        >>> image = jnp.array([[[[3.0, 4.0]], [[6.0, 8.0]]]])
        >>> attribute(None, image).round().tolist()
        [[[5.0], [10.0]]]
    """

    def of_example(activation: Any) -> Any:
        rows = activation.reshape(-1, activation.shape[-1])
        values = jnp.matmul(rows, principal_direction(rows), precision="highest")
        values = jnp.where(values.sum() < 0, -values, values)
        return values.reshape(activation.shape[:-1])

    return _of_activations(apply_fn, "eigen_cam", jax.vmap(of_example), at, resize)


@method
def fem(
    apply_fn: ApplyFn, *, at: Sites, deviations: float = 2.0, resize: bool = True
) -> Attribution:
    r"""Attributes to positions by the channels that are unusually active there.

    $$L_p = \sum_c \mu_c\,[A_{c,p} > \mu_c + k\,\sigma_c]$$

    $\mu_c$ and $\sigma_c$ are mean and standard deviation of a channel over the
    positions of an example. A channel that is the same everywhere marks nothing. No
    class is explained: the map is the same for every output. Cost: one forward pass.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the site whose channels are added up, usually the last convolution or the
            activation after it. Channels may be first or last. For a glob or a
            selector a mapping from address to map is returned.
        deviations: the number $k$ of standard deviations from which on a position
            counts as unusual. Of $n$ positions none is further than $\sqrt{n - 1}$.
        resize: whether the map is resized to the positions of the inputs, linearly;
            otherwise the map at the site is returned, `(batch, *positions)`.

    Returns:
        An attribution function, which needs no target, in the units of the activation.
        With `resize` the map has the shape of the inputs: all channels of a pixel are
        equal, and add up to it.

    Raises:
        ValueError: if `deviations` is negative or no number; when called, if the
            activation has no positions or is inside a loop, or if with `resize` its
            positions have another number of axes than those of the inputs, or there are
            several inputs.

    References:
        Fuad et al., 2020 (the feature explanation method), of images
        [fuad2020features].

    Example:
        >>> model = lambda w, x: jnp.maximum(x, 0).mean((1, 2))
        >>> attribute = fem(model, at="relu", deviations=1.0, resize=False)
        >>> image = jnp.array([0.0, 0.0, 0.0, 4.0]).reshape(1, 4, 1, 1)
        >>> attribute(None, image)[0, :, 0].tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    deviations = checked_real("deviations", deviations, 0, call="fem")

    def of_batch(activation: Any) -> Any:
        axes = positions_of(activation)
        mean = activation.mean(axes, keepdims=True)
        scatter = activation.std(axes, keepdims=True)
        # The mean of equal numbers may differ from them by rounding.
        varies = activation.max(axes, keepdims=True) > activation.min(
            axes, keepdims=True
        )
        is_unusual = varies & (activation - mean > deviations * scatter)
        undefined = jnp.where(jnp.isnan(mean), mean, 0)
        return jnp.where(is_unusual, mean, undefined).sum(-1)

    return _of_activations(apply_fn, "fem", of_batch, at, resize)


def _of_activations(
    apply_fn: ApplyFn,
    name: str,
    combined: Callable[[Any], Any],
    at: Sites,
    resize: bool,
) -> Attribution:
    """Returns the attribution function of a map that reads activations alone.

    Args:
        apply_fn: the model.
        name: the name of the method, for errors.
        combined: from activations `(batch, *positions, channels)`, in single precision
            at least, to maps `(batch, *positions)`.
        at: the sites.
        resize: whether maps are resized to the positions of the inputs.
    """

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        check_inputs(inputs, at, variables, needs_slopes=False)
        traced, sites = trace_to_sites(apply_fn, variables, inputs, at)
        for site in sites.values():
            check_can_start(traced.graph, site)
        values = frozenset(site.value for site in sites.values())
        _, captured = traced.run(Changes(captures=values))

        def of_site(address: str, activation: Any) -> Any:
            check_positions(activation, name, address)
            wide = jnp.promote_types(activation.dtype, jnp.float32)
            map_ = combined(activation.astype(wide)).astype(activation.dtype)
            return resized(map_, inputs, name, address) if resize else map_

        maps = {
            address: of_site(address, site.channels_last(captured[site.value]))
            for address, site in sites.items()
        }
        return shaped(at, sites, maps)

    return attribute
