"""Published sequences of transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxinterp.checks import check_choice, checked_integer
from jaxinterp.featurevis.transforms.blur import blur
from jaxinterp.featurevis.transforms.box_crop import box_crop
from jaxinterp.featurevis.transforms.crop_or_pad import crop_or_pad
from jaxinterp.featurevis.transforms.flip import flip
from jaxinterp.featurevis.transforms.jitter import jitter
from jaxinterp.featurevis.transforms.noise import noise
from jaxinterp.featurevis.transforms.pad import pad
from jaxinterp.featurevis.transforms.resize import resize
from jaxinterp.featurevis.transforms.rotate import rotate
from jaxinterp.featurevis.transforms.scale import scale
from jaxinterp.featurevis.transforms.transform import Compose, Transform, compose
from jaxinterp.featurevis.transforms.warp import Size

# What images have to withstand: transforms in their order, one, or a recipe's name.
Transforms = Transform | Sequence[Transform] | str


def _degrees(*ranges: tuple[int, int]) -> list[float]:
    return [float(angle) for ends in ranges for angle in range(*ends)]


def _mirrored_jitter(pixels: int) -> list[Transform]:
    """A move by up to so many pixels to any side; the size stays."""
    return [pad(pixels, fill="reflect"), jitter(2 * pixels)]


_MANY_ANGLES = [*_degrees((-20, 20), (-10, 10), (-5, 5)), *[0.0] * 5]

# What each does before the middle is cut out at the size of the image.
RECIPES: Mapping[str, tuple[Transform, ...]] = {
    "lucid": (
        pad(12),
        jitter(8),
        scale(choices=[1 + (i - 5) / 50 for i in range(11)]),
        rotate(choices=[*_degrees((-10, 11)), *[0.0] * 5]),
        jitter(4),
    ),
    "distill": (
        pad(16),
        jitter(16),
        scale(choices=[1.0, 0.975, 1.025, 0.95, 1.05]),
        rotate(choices=_degrees((-5, 6))),
        jitter(8),
    ),
    "atlas": (
        pad(16),
        *(jitter(pixels) for pixels in (4, 4, 8, 8, 8)),
        scale(choices=[0.998**i for i in range(20, 40)]),
        rotate(choices=_MANY_ANGLES),
        jitter(2),
    ),
    "captum": (
        pad(2),
        *(10 * _mirrored_jitter(4)),
        scale(
            choices=[0.995**i for i in range(-5, 80)]
            + 2 * [0.998**i for i in range(20, 40)]
        ),
        rotate(choices=_MANY_ANGLES),
        *_mirrored_jitter(2),
    ),
}


def recipe(name: str, *, keep_size: bool = True) -> Transform:
    """Returns the transforms that a publication or a library uses.

    | name | what it does |
    |---|---|
    | `"lucid"` | the standard transforms of lucid: zooms of 10 %, turns of 10 degrees |
    | `"distill"` | those of the Distill article, gentler and with more jitter |
    | `"atlas"` | those of activation atlases: small images, mostly jitter |
    | `"captum"` | those of captum's branch for optimization: many small moves |

    A zoom keeps the size here, with gray around; in the libraries it resizes. A corner
    that a turn uncovers is gray, and in lucid black.

    Args:
        name: the name of the recipe.
        keep_size: whether the view has the size of the image. Lucid's own is 12 pixels
            larger, all of them border, which is cut off so that it fits a model of one
            size.

    Returns:
        A transform.

    Raises:
        ValueError: if there is no such recipe, or `keep_size` is neither true nor
            false; when the transform is called, if its argument is no image: a volume
            has three planes to turn in, and a signal none.

    Example:
        >>> recipe("lucid")(jax.random.key(0), jnp.zeros((32, 24, 3))).shape
        (32, 24, 3)

    References:
        `"lucid"`: lucid, `lucid/optvis/transform.py`, `standard_transforms`.
        `"distill"`: Olah et al., 2017, the footnote on how the images were made
        [olah2017feature]. `"atlas"`: Carter et al., 2019 [carter2019activation], with
        the numbers of `lucid/recipes/activation_atlas/render.py`. `"captum"`: branch
        `optim-wip`, `TransformationRobustness`: each of its moves is by up to 4 pixels
        to any side, with the mirror image at the border.
    """
    check_choice("name", name, tuple(RECIPES))
    if not isinstance(keep_size, bool):
        raise ValueError(
            f"recipe: `keep_size` must be True or False, and is {keep_size!r}. "
            f"For another size write `compose([recipe({name!r}), resize(224)])`."
        )
    return compose([*RECIPES[name], *([crop_or_pad()] if keep_size else [])])


def as_transform(transforms: Transforms) -> Compose:
    """Returns what a function takes as its `transforms` as one transform.

    Args:
        transforms: one transform, several in a list, or the name of a recipe.

    Raises:
        TypeError: if something is no transform.
        ValueError: if there is no recipe of that name.

    Example:
        >>> as_transform("lucid") == recipe("lucid")
        True
    """
    if isinstance(transforms, str):
        check_choice("transforms", transforms, tuple(RECIPES))
        return compose([recipe(transforms)])
    return compose([transforms] if callable(transforms) else transforms)


def xplique_transforms(size: int) -> Transform:
    """Returns the transforms of Xplique: boxes of 40 % of the sides, magnified.

    Args:
        size: the side of the image in pixels; moves go by sixteenths of it.

    Returns:
        A transform that keeps the size of the image.

    Raises:
        ValueError: if the size is no integer of at least 16.

    Example:
        >>> xplique_transforms(32)(jax.random.key(0), jnp.zeros((32, 32, 3))).shape
        (32, 32, 3)

    References:
        Xplique, `features_visualizations/transformations.py`,
        `generate_standard_transformations`. An image that is reduced becomes smaller
        there; here it keeps its size, with its mirror image around.
    """
    unit = checked_integer("size", size, 16, call="xplique_transforms") // 16
    return compose(
        [
            pad(4 * unit, fill=0.0),
            *(jitter(n * unit) for n in (2, 2, 4, 4, 4)),
            scale(0.92, 0.96, fill="reflect"),
            blur(1.0, 1.1),
            jitter(unit),
            jitter(unit),
            flip(),
            resize(size),
        ]
    )


def maco_crops(
    size: int | Size,
    *,
    sides: tuple[float, float] = (0.5, 0.05),
    noise_level: float = 0.08,
) -> Transform:
    """Returns the noisy random boxes under which MACO optimizes an image.

    Each step averages over many of them, 32 in the paper: ask `maximize` for as many
    `samples`. Departing from the published code, boxes do not reach out of the image.

    Args:
        size: the size of the model's input, or its side, in pixels.
        sides: the mean side of the boxes at the first and at the last step, as shares
            of the image's.
        noise_level: the standard deviation of the Gaussian, and the width of the
            uniform noise that is added to it.

    Returns:
        A transform to that size.

    Raises:
        ValueError: if a number is no share, no size or no noise; if the image has
            another number of axes.

    Example:
        >>> maco_crops(16)(jax.random.key(0), jnp.zeros((64, 64, 3))).shape
        (16, 16, 3)

    References:
        Fel et al., 2023, section 3 [fel2023unlocking].
    """
    boxes = box_crop(size, sides=sides)
    return compose([boxes, noise(noise_level, uniform=noise_level)])
