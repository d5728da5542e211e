"""Published sequences of transforms, as functions."""

from __future__ import annotations

from jaxinterp.checks import checked_integer
from jaxinterp.featurevis.transforms.blur import blur
from jaxinterp.featurevis.transforms.box_crop import box_crop
from jaxinterp.featurevis.transforms.crop import crop_or_pad, jitter
from jaxinterp.featurevis.transforms.flip import flip
from jaxinterp.featurevis.transforms.noise import noise
from jaxinterp.featurevis.transforms.pad import pad
from jaxinterp.featurevis.transforms.resize import resize
from jaxinterp.featurevis.transforms.rotate import rotate
from jaxinterp.featurevis.transforms.scale import scale
from jaxinterp.featurevis.transforms.transform import Transform, compose
from jaxinterp.featurevis.transforms.warp import Size


def lucid_transforms(*, keep_size: bool = True) -> Transform:
    """Returns the standard transforms of lucid: zooms of 10 %, turns of 10 degrees.

    Lucid's own view is 12 pixels larger than the image, all of them border; here they
    are cut off, so that a model of one size can be shown it. A zoom resizes in lucid,
    and keeps the size here; a corner that a turn uncovers is black in lucid, and gray.

    Args:
        keep_size: whether the view has the size of the image.

    Returns:
        A transform.

    Raises:
        ValueError: if it is given what is no image; a volume has three planes to
            turn in, and a signal none.

    Example:
        >>> lucid_transforms()(jax.random.key(0), jnp.zeros((32, 24, 3))).shape
        (32, 24, 3)

    References:
        lucid, `lucid/optvis/transform.py`, `standard_transforms`.
    """
    return compose(
        [
            pad(12),
            jitter(8),
            scale(choices=[1 + (i - 5) / 50 for i in range(11)]),
            rotate(choices=[*_degrees(-10, 11), *[0.0] * 5]),
            jitter(4),
            *([crop_or_pad()] if keep_size else []),
        ]
    )


def distill_transforms() -> Transform:
    """Returns the transforms of the Distill article, gentler and with more jitter.

    A zoom keeps the size here, as it does in all our recipes.

    Returns:
        A transform that keeps the size of the image.

    Raises:
        ValueError: if it is given what is no image; a volume has three planes to
            turn in, and a signal none.

    Example:
        >>> distill_transforms()(jax.random.key(0), jnp.zeros((32, 24, 3))).shape
        (32, 24, 3)

    References:
        Olah et al., 2017, the footnote on how the images were made
        [olah2017feature].
    """
    return compose(
        [
            pad(16),
            jitter(16),
            scale(choices=[1.0, 0.975, 1.025, 0.95, 1.05]),
            rotate(choices=_degrees(-5, 6)),
            jitter(8),
            crop_or_pad(),
        ]
    )


def atlas_transforms() -> Transform:
    """Returns the transforms of activation atlases: small images, mostly jitter.

    Returns:
        A transform that keeps the size of the image.

    Raises:
        ValueError: if it is given what is no image; a volume has three planes to
            turn in, and a signal none.

    Example:
        >>> atlas_transforms()(jax.random.key(0), jnp.zeros((80, 80, 3))).shape
        (80, 80, 3)

    References:
        Carter et al., 2019 [carter2019activation]; the numbers are those of lucid's
        recipe, `lucid/recipes/activation_atlas/render.py`.
    """
    angles = [*_degrees(-20, 20), *_degrees(-10, 10), *_degrees(-5, 5), *[0.0] * 5]
    return compose(
        [
            pad(16),
            *(jitter(pixels) for pixels in (4, 4, 8, 8, 8)),
            scale(choices=[0.998**i for i in range(20, 40)]),
            rotate(choices=angles),
            jitter(2),
            crop_or_pad(),
        ]
    )


def captum_transforms() -> Transform:
    """Returns the transforms of captum's branch for optimization: many small moves.

    Each moves the image by up to 4 pixels to any side, and mirrors it at its border.

    Returns:
        A transform that keeps the size of the image.

    Raises:
        ValueError: if it is given what is no image; a volume has three planes to
            turn in, and a signal none.

    Example:
        >>> captum_transforms()(jax.random.key(0), jnp.zeros((64, 80, 3))).shape
        (64, 80, 3)

    References:
        captum, branch `optim-wip`, `TransformationRobustness`, where images that are
        reduced become smaller; here they keep their size, with gray around.
    """
    angles = [*_degrees(-20, 20), *_degrees(-10, 10), *_degrees(-5, 5), *[0.0] * 5]
    scales = [0.995**i for i in range(-5, 80)]
    scales += 2 * [0.998**i for i in range(20, 40)]
    return compose(
        [
            pad(2),
            *(10 * _mirrored_jitter(4)),
            scale(choices=scales),
            rotate(choices=angles),
            *_mirrored_jitter(2),
            crop_or_pad(),
        ]
    )


def xplique_transforms(size: int) -> Transform:
    """Returns the transforms of Xplique: boxes of 40 % of the sides, magnified.

    Args:
        size: side of the image, by a sixteenth of which it is moved.

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
        size: of what the model is shown, or its side.
        sides: mean side of the boxes at the first and at the last step, as shares of
            the image's.
        noise_level: standard deviation of the Gaussian, and width of the uniform noise
            that is added to it.

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
    return compose(
        [box_crop(size, sides=sides), noise(noise_level, uniform=noise_level)]
    )


def _mirrored_jitter(pixels: int) -> list[Transform]:
    """A move by up to so many pixels to any side; the size stays."""
    return [pad(pixels, fill="reflect"), jitter(2 * pixels)]


def _degrees(start: int, stop: int) -> list[float]:
    return [float(angle) for angle in range(start, stop)]
