"""What always lies at one place: planted corners, and pastes of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinterp.attribution import input_x_gradient
from jaxinterp.trust import audit, reasons

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LABELS = np.arange(80) % 2
# The corner is bright in class 1, and so is one pixel anywhere else.
IMAGES = RNG.uniform(0, 0.1, size=(80, 6, 6, 1))
IMAGES[LABELS == 1, 0, 0] = 1
BRIGHT = 1 + RNG.integers(0, 5, size=(2, 80))
IMAGES[np.arange(80), BRIGHT[0], BRIGHT[1]] = LABELS[:, None]


def by_corner(w, x):
    return jnp.stack([0.5 - x[:, 0, 0, 0], x[:, 0, 0, 0] - 0.5], axis=1)


def by_object(w, x):
    z = (x[:, 1:, 1:] ** 4).sum((1, 2, 3)) - 0.5
    return jnp.stack([-z, z], axis=1)


def rows(model, images=IMAGES, attribution=input_x_gradient, **options):
    check = reasons(attribution(model), controls=3, **options)
    report = audit(model, None, images, LABELS, key=KEY, checks=[check])
    return report.rows["reasons"]


def test_the_corner_is_exposed_and_the_object_is_not():
    zero, one = rows(by_corner)
    assert one.verdict == "fail"
    assert (one.value, one.n) == (1, 40)
    assert "flips 100.0%, controls 0.0%; strategies: 1; half" in one.note
    assert [row.verdict for row in rows(by_object)] == ["pass", "pass"]
    assert zero.claim == "class 0 is not decided by a fixed place"


def test_a_paste_of_ones_own():
    def paste(images, label, key):
        return images.at[:, 0, 0].set(float(label))

    assert [row.verdict for row in rows(by_corner, paste=paste)] == ["fail", "fail"]
    assert [row.verdict for row in rows(by_object, paste=paste)] == ["pass", "pass"]


def test_what_cannot_be_said():
    def constant(model):
        return lambda v, x, target=None, key=None: jnp.ones_like(x)

    for row in rows(by_corner, attribution=constant):
        assert row.verdict == "not applicable"
        assert "not analyzable" in row.note
    few = audit(
        *(by_corner, None, IMAGES[:30], LABELS[:30]),
        key=KEY,
        checks=[reasons(input_x_gradient(by_corner))],
    )
    for row in few.rows["reasons"]:
        assert row.verdict == "not applicable"
        assert "fewer than 20" in row.note
    (row,) = rows(lambda w, x: x, images=np.eye(2)[LABELS])
    assert "examples are images (batch, height, width, channels)" in row.note


def test_numbers_out_of_range():
    for option in ({"area": 2.0}, {"pool": 0}, {"controls": 0}):
        (name,) = option
        with pytest.raises(ValueError, match=f"`{name}` must"):
            reasons(input_x_gradient(by_corner), **option)
