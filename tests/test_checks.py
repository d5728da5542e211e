"""Each question about an argument has one answer, and a message that helps."""

import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp import checks
from jaxinterp.keys import check_key

INTEGERS = [3, 0, -2, np.int8(3), np.uint64(2**63), 10**30]
REALS = [0.5, np.float16(0.5), np.float64(-2.0), fractions.Fraction(1, 2)]
NEITHER = [
    *(True, False, np.True_, None, "3", 1j, [1], np.array(3), math.nan, math.inf),
    *(np.float32("nan"), jnp.float32(1.0)),
]


@pytest.mark.parametrize("value", INTEGERS)
def test_integers_of_python_and_numpy_are_integers(value):
    assert checks.is_integer(value)
    assert checks.is_real(value)
    integer = checks.checked_integer("steps", value, -5)
    assert integer == value
    assert type(integer) is int


@pytest.mark.parametrize("value", REALS)
def test_finite_numbers_of_python_and_numpy_are_real(value):
    assert not checks.is_integer(value)
    assert checks.is_real(value)
    assert checks.checked_real("scale", value) == value
    assert type(checks.checked_real("scale", value)) is float
    assert checks.is_share(value) == (0 <= value <= 1)


@pytest.mark.parametrize("value", NEITHER)
def test_anything_else_is_neither(value):
    assert not checks.is_integer(value)
    assert not checks.is_real(value)
    assert not checks.is_share(value)
    with pytest.raises(ValueError, match="`steps` must be an integer of at least 1"):
        checks.checked_integer("steps", value, 1)
    with pytest.raises(ValueError, match="`scale` must be a finite number, and is"):
        checks.checked_real("scale", value)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: checks.checked_integer("steps", 0, 1, call="run"),
            "run: `steps` must be an integer of at least 1, and is 0.",
        ),
        (
            lambda: checks.checked_real("scale", -0.5, 0, call="run"),
            "run: `scale` must be a finite number of at least 0, and is -0.5.",
        ),
        (
            lambda: checks.checked_real("seconds", 700, 0.01, 600),
            "`seconds` must lie between 0.01 and 600, and is 700.",
        ),
        (
            lambda: checks.checked_share("rate", 1.5, call="run"),
            "run: `rate` must lie between 0 and 1, and is 1.5.",
        ),
        (
            lambda: checks.check_choice("kind", "c", ("a", "b"), call="run"),
            "run: `kind` is 'c'. There are: 'a', 'b'.",
        ),
        (
            lambda: checks.check_choice("kind", np.array(["a"]), ("a", "b")),
            "`kind` is array(['a'], dtype='<U1'). There are: 'a', 'b'.",
        ),
        (
            lambda: checks.check_index(np.array([0, 5]), 3, "channel"),
            "There is no channel 5: there are 3, 0..2.",
        ),
        (
            lambda: checks.check_index(-4, 3, "channel"),
            "There is no channel -4: there are 3, 0..2.",
        ),
    ],
)
def test_a_message_says_which_argument_of_which_call_and_what_it_was(check, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole message is below
        check()
    assert str(error.value) == message


def test_what_is_in_range_passes():
    assert checks.checked_integer("steps", 1, 1) == 1
    assert checks.checked_share("rate", np.float32(1)) == 1.0
    assert checks.checked_real("seconds", 600, 0.01, 600) == 600.0
    checks.check_choice("kind", "b", ("a", "b"))
    checks.check_index(np.array([-3, 2]), 3, "channel")


@pytest.mark.parametrize(
    "given", [2, np.int64(2), [2], (2,), np.array([2]), range(2, 3)]
)
def test_several_integers_are_a_tuple(given):
    integers = checks.checked_integers("some", "channel", given, "some([1, 2])")
    assert integers == (2,)
    assert type(integers[0]) is int


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([], ValueError, "some: each channel is named once, and at least one"),
        ([1, 1], ValueError, "each channel is named once"),
        (
            "1",
            TypeError,
            r"number of a channel, .* `some\(\[1, 2\]\)`; '1' was",
        ),
        ([1.0], TypeError, r"\[1.0\] was given"),
        (np.array([True]), TypeError, "was given"),
    ],
)
def test_integers_that_name_nothing(given, error, message):
    with pytest.raises(error, match=message):
        checks.checked_integers("some", "channel", given, "some([1, 2])")


def test_what_is_traced_is_known_at_any_depth():
    traced = []

    def run(x):
        traced.append(checks.is_traced({"a": [x]}, "text", None))
        checks.check_index(x, 1, "channel")  # it cannot be looked at
        with pytest.raises(TypeError, match=r"read\(\) looks at numbers, and was"):
            checks.check_outside("read", "looks at numbers", "text", {"a": x})
        with pytest.raises(TypeError, match="was given"):
            checks.checked_integers("some", "channel", x, "some(1)")
        return x

    jax.jit(run)(jnp.array(7))
    assert traced == [True]
    assert not checks.is_traced(jnp.array(7), [1, "a"])
    checks.check_outside("read", "looks at numbers", jnp.array(7))


# --- Messages -------------------------------------------------------------------------


@jax.tree_util.register_pytree_node_class
class _Holds:
    def __init__(self, x):
        self.x = x

    def tree_flatten(self):
        return (self.x,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        raise AssertionError("a value is shown, and not made anew")


@pytest.mark.parametrize(
    "call",
    [
        lambda x: checks.checked_integer("steps", x, 1),
        lambda x: checks.checked_integers("some", "channel", x, "some([3])"),
        lambda x: checks.checked_integers("some", "channel", [x, x], "some([3])"),
        lambda x: checks.checked_real("epsilon", x),
        lambda x: checks.check_choice("method", x, ("a", "b")),
        lambda x: check_key("noise", x),
        lambda x: ji.attribution.gradient(jnp.tanh, score=x),
        lambda x: ji.attribution.lrp(jnp.tanh, composite=x),
        lambda x: ji.attribution.smooth(jnp.tanh, samples=x),
        lambda x: ji.featurevis.noise(x),
        lambda x: ji.featurevis.scale([_Holds(x)]),
        lambda x: ji.featurevis.channel("Conv_0", x.astype(float)),
        lambda x: ji.featurevis.channel("Conv_0", 0) + _Holds(x),
    ],
)
def test_no_message_prints_a_tracer(call, unchecked):
    def traced(x):
        with pytest.raises((TypeError, ValueError)) as error:
            call(x)
        assert "Trace" not in str(error.value)
        assert "JVP" not in str(error.value)
        return x

    jax.jit(traced)(3)
    jax.grad(traced)(3.0)


def test_a_message_shows_an_array_by_its_shape():
    assert checks.shown((np.ones((3, 4)), "a", 1)) == "(float64[3, 4], 'a', 1)"
    assert checks.shown(np.ones(2)) == "array([1., 1.])"
    shown = []
    jax.jit(lambda x: shown.append(checks.shown([x])))(jnp.ones(2, jnp.float32))
    assert shown == ["[a traced float32[2]]"]


def test_what_is_not_positive_and_no_function_is_an_error():
    assert checks.checked_positive("rate", np.float32(2)) == 2.0
    for wrong in (0, -1.0, "a", float("nan")):
        with pytest.raises(ValueError, match="run: `rate` must be"):
            checks.checked_positive("rate", wrong, call="run")
    checks.check_function("paste", len, "paste(images)")
    with pytest.raises(
        TypeError, match=r"run: `paste` must be .* `paste\(x\)`, and is 3"
    ):
        checks.check_function("paste", 3, "paste(x)", call="run")


def test_a_number_in_an_array_is_told_how_to_be_written():
    with pytest.raises(ValueError, match=r"write `float\(share\)`"):
        checks.checked_share("share", np.array(0.5))
