"""What each feature contributed, as bars: for tables, and whatever has names."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from jaxinterp.checks import checked_integer
from jaxinterp.plot.checked_images import Names, checked_names, checked_numbers
from jaxinterp.plot.image_axes import checked_size

# Inches: of a bar with the gap below it, of a letter, and around the bars.
_ROW, _LETTER, _EDGE, _BOTTOM = 0.26, 0.085, 0.15, 0.5


def bars(
    names: Names,
    relevance: Any,
    *,
    errors: Any = None,
    largest: int | None = None,
    unit: str = "",
    colors: str = "RdBu_r",
    size: float = 3.0,
) -> Figure:
    """Draws what each feature contributed as a horizontal bar from zero.

    Args:
        names: the name of each feature, a text or an integer.
        relevance: one number for each feature, `(features,)`: `attributions[0]` for the
            first example of a batch, or a statistic over it such as
            `abs(attributions).mean(axis=0)`.
        errors: how far each number may be off to either side, `(features,)`, such as a
            standard deviation over several keys: a line at the end of its bar.
        largest: how many features to draw: those of the largest magnitude, the largest
            on top. All in their order by default.
        unit: what to write below the scale, such as `"logits"`.
        colors: the name of a diverging color map of matplotlib, of which the first
            color is that of bars below zero, and the last that of those above.
        size: width of the field of the bars in inches.

    Returns:
        A matplotlib figure: `figure.savefig("bars.png")`.

    Raises:
        TypeError: if a transformation such as `jax.jit` is tracing the numbers.
        ValueError: if there is not one finite number for each name, an error is
            negative, or an argument is out of its range.

    Example:
        >>> figure = bars(["age", "dose", "sex"], np.array([0.5, -2.0, 0.1]), largest=2)
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['dose', 'age']
    """
    values = _numbers(relevance, "relevance", names)
    texts = checked_names("bars", names, len(values), "names", "features")
    lengths = None if errors is None else _numbers(errors, "errors", names)
    if lengths is not None and (lengths.shape != values.shape or (lengths < 0).any()):
        raise ValueError(
            f"bars: `errors` are {len(values)} numbers of at least 0, one for each "
            f"feature, and are {lengths}."
        )
    checked_size("bars", size)
    order = np.arange(len(values))
    if largest is not None:
        count = checked_integer("largest", largest, 1, call="bars")
        order = np.argsort(-np.abs(values), kind="stable")[:count]
    left = _LETTER * max(len(texts[i]) for i in order) + 2 * _EDGE
    width, height = left + size + _EDGE, _ROW * len(order) + _BOTTOM + _EDGE
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (left / width, _BOTTOM / height, size / width, _ROW * len(order) / height)
    )
    scale = matplotlib.colormaps[colors].resampled(257)
    axes.barh(
        range(len(order)),
        values[order],
        xerr=None if lengths is None else lengths[order],
        color=[scale(48 if value < 0 else 208) for value in values[order]],
        ecolor="0.3",
        height=0.7,
    )
    axes.set_yticks(range(len(order)), labels=[texts[i] for i in order], fontsize=9)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(len(order) - 0.5, -0.5)  # the first on top
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.locator_params(axis="x", nbins=max(round(1.5 * size), 2))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(unit, fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _numbers(values: Any, name: str, names: Any) -> np.ndarray:
    numbers = checked_numbers(values, "bars", name, np.float64)
    if numbers.ndim != 1 or not numbers.size:
        advice = (
            f"Of a batch choose an example, `{name}[0]`, or a statistic, "
            f"`{name}.mean(axis=0)`."
        )
        n_names = len(names) if hasattr(names, "__len__") else 0
        if numbers.ndim > 1 and n_names == len(numbers) != numbers.shape[-1]:
            axes = ", ".join(map(str, range(1, numbers.ndim)))
            advice = (
                f"Add up what each of the {n_names} names has, "
                f"`{name}.sum(axis={axes if numbers.ndim == 2 else f'({axes})'})`."
            )
        raise ValueError(
            f"bars: `{name}` has one number for each feature, (features,), and has "
            f"shape {numbers.shape}.\n{advice}"
        )
    if not np.isfinite(numbers).all():
        number = int((~np.isfinite(numbers)).argmax())
        raise ValueError(
            f"bars: `{name}` holds NaN or infinity, which has no bar, at feature "
            f"{number}."
        )
    return numbers
