"""What goes wrong at first, and what is said about it: one table.

The error is the model's own, of the same type and message; the note says what the model
was given and what to write instead.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors, nnx

import jaxinterp as ji

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
TARGET = jnp.array([1, 0])


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), strides=2)(x)
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.5, deterministic=True)(nn.relu(x))
        return nn.Dense(5)(x.reshape(x.shape[0], -1))


class AsksForTrain(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Dropout(0.5, deterministic=not train)(nn.Conv(4, (3, 3))(x))
        return nn.Dense(5)(x.mean((1, 2)))


class NeverSays(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm()(x).mean((1, 2))


class Conv(eqx.Module):
    conv: eqx.nn.Conv2d
    drop: eqx.nn.Dropout

    def __init__(self, p=0.0):
        self.conv = eqx.nn.Conv2d(3, 4, 3, key=KEY, dtype=jnp.float32)
        self.drop = eqx.nn.Dropout(p)

    def __call__(self, x):
        return self.drop(self.conv(x)).mean((1, 2))


class Linear(nnx.Module):
    def __init__(self):
        self.linear = nnx.Linear(3, 5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.linear(x.mean((1, 2)))


class Bare:
    def forward(self, x):
        return NET.apply(VARIABLES, x)


NET = Net()
VARIABLES = NET.init(KEY, IMAGES)
BOUND = NET.bind(VARIABLES)
ASKS = AsksForTrain()
OF_ASKS = ASKS.init(KEY, IMAGES, train=False)
ARRAYS = eqx.filter(Conv(), eqx.is_array)


def of_equinox(p):
    return ji.models.from_equinox(Conv(p))[0]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A call that goes wrong, and what the model's own error and the note say."""

    error: type[Exception]
    own: str
    note: str
    model: Any = NET.apply
    variables: Any = dataclasses.field(default_factory=lambda: VARIABLES)
    inputs: Any = dataclasses.field(default_factory=lambda: IMAGES)
    target: Any = dataclasses.field(default_factory=lambda: TARGET)


MISTAKES = {
    "params without the dict": Mistake(
        errors.ScopeCollectionNotFound,
        'collection "params"',
        r"`variables` has no 'params', but \['BatchNorm_0', 'Conv_0', 'Dense_0'\].\n"
        r"Write `{'params': params}`",
        variables=VARIABLES["params"],
    ),
    "a collection is missing": Mistake(
        errors.ScopeCollectionNotFound,
        'collection "batch_stats"',
        r"has \['params'\] and no 'batch_stats'.\nGive all that `module.init` returned",
        variables={"params": VARIABLES["params"]},
    ),
    "the module": Mistake(
        errors.CallCompactUnboundModuleError,
        "unbound modules",
        r"that is the module itself. Write `module.apply`",
        model=NET,
    ),
    "a bound module": Mistake(
        Exception, "", r"holds its variables already.*bound.unbind\(\)`", model=BOUND
    ),
    "an NNX module": Mistake(
        TypeError, "positional", r"models.from_nnx\(model\)` makes", model=Linear()
    ),
    "an Equinox module": Mistake(
        TypeError, "positional", r"models.from_equinox\(model\)` makes", model=Conv()
    ),
    "the logits": Mistake(
        TypeError,
        "not callable",
        r"no function but float32\[2, 5\], perhaps what the model returned",
        model=NET.apply(VARIABLES, IMAGES),
    ),
    "a function of the inputs alone": Mistake(
        TypeError,
        "takes 1 positional argument but 2 were given",
        r"takes the inputs alone.*from_function\(model\)",
        model=lambda x: NET.apply(VARIABLES, x),
    ),
    "a method of the inputs alone": Mistake(
        TypeError,
        "takes 2 positional arguments but 3 were given",
        r"takes the inputs alone.*from_function\(model\)",
        model=Bare().forward,
    ),
    "channels first": Mistake(
        errors.ScopeParamShapeError,
        r"\(3, 3, 8, 4\)",
        r"its 3 channels on axis 1, and the model on the last axis.\n"
        r"Write `jnp.moveaxis\(inputs, 1, -1\)`",
        inputs=np.moveaxis(IMAGES, -1, 1),
    ),
    "channels last": Mistake(
        Exception,
        "",
        r"its 3 channels on the last axis, and the model on axis 1.\n"
        r"Write `jnp.moveaxis\(inputs, -1, 1\)`",
        model=of_equinox(0.0),
        variables=ARRAYS,
    ),
    "`train` is not given": Mistake(
        TypeError,
        "missing 1 required positional argument: 'train'",
        r"needs `train` too. Give it:\n.*apply_fn\(variables, inputs, train=False\)",
        model=ASKS.apply,
        variables=OF_ASKS,
    ),
    "`train=True`": Mistake(
        errors.ModifyScopeVariableError,
        "batch_stats",
        r"batch norm is in training mode. Turn it off: `train=False`",
        model=lambda v, x: NET.apply(v, x, train=True),
    ),
    "batch norm is not told": Mistake(
        ValueError,
        "use_running_average",
        r"batch norm is in training mode.*`use_running_average=True`",
        model=NeverSays().apply,
        variables={},
    ),
    "no key for dropout": Mistake(
        errors.InvalidRngError,
        "PRNG",
        r"dropout is on and asks for a random key. Turn it off: `train=False`",
        model=lambda v, x: ASKS.apply(v, x, train=True),
        variables=OF_ASKS,
    ),
    "Equinox in training mode": Mistake(
        ValueError,
        r"(?s)training mode: `drop` \(Dropout\).*inference_mode\(model\)",
        r"inputs float32\[2, 3, 8, 8\]$",
        model=of_equinox(0.5),
        variables=ARRAYS,
        inputs=np.moveaxis(IMAGES, -1, 1),
    ),
    "two dtypes": Mistake(
        TypeError,
        "same dtypes",
        r"`inputs` is float64 and `variables` are float32. Write "
        r"`inputs.astype\(jnp.float32\)`",
        model=lambda v, x: jax.lax.conv(x, v["w"], (1, 1), "SAME").mean((2, 3)),
        variables={"w": jnp.ones((4, 8, 3, 3), jnp.float32)},
        inputs=IMAGES.astype(np.float64),
    ),
}
OF_INPUTS = {
    "no batch axis": Mistake(
        Exception,
        "",
        r"shape \(8, 8, 3\), without an axis for the batch.*`inputs\[None\]`",
        inputs=IMAGES[0],
        target=0,
    ),
    "no batch axis, Equinox": Mistake(
        Exception,
        "",
        r"shape \(3, 8, 8\), without an axis for the batch.*`inputs\[None\]`",
        model=of_equinox(0.0),
        variables=ARRAYS,
        inputs=np.moveaxis(IMAGES[0], -1, 0),
        target=0,
    ),
    "no batch axis, features": Mistake(
        TypeError,
        "",
        r"shape \(3,\), without an axis for the batch.*`inputs\[None\]`",
        model=lambda v, x: jax.lax.dot_general(x, v, (((1,), (0,)), ((), ()))),
        variables=jnp.ones((3, 5)),
        inputs=np.ones(3),
        target=0,
    ),
    "variables and inputs are swapped": Mistake(
        Exception,
        "",
        r"`variables` is one array float32\[2, 8, 8, 3\] and `inputs` hold 8 arrays.*"
        r"Write `\(variables, inputs\)` in this order",
        variables=IMAGES,
        inputs=VARIABLES,
    ),
    "the variables are left out": Mistake(
        Exception,
        "",
        r"`variables` is one array float32\[2, 8, 8, 3\] and `inputs` are integers.*"
        r"Write `attribute\(variables, inputs, target\)`",
        variables=IMAGES,
        inputs=TARGET,
    ),
}


def _maximize(mistake):
    parametrization = ji.featurevis.pixels(mistake.inputs.shape[1:])
    ji.featurevis.maximize(
        mistake.model,
        ":0",
        mistake.variables,
        key=KEY,
        parametrization=parametrization,
        steps=1,
        progress=False,
    )


def _attribute(method, **options):
    def run(mistake):
        attribute = method(mistake.model, **options)
        attribute(mistake.variables, mistake.inputs, mistake.target)

    return run


def _trace(mistake):
    ji.trace(mistake.model, mistake.variables, mistake.inputs)


CALLS: dict[str, Callable[[Mistake], None]] = {
    "gradient": _attribute(ji.attribution.gradient),
    "gradient at": _attribute(ji.attribution.gradient, at="*"),
    "lrp": _attribute(ji.attribution.lrp),
    "integrated_gradients": _attribute(ji.attribution.integrated_gradients, steps=2),
    "trace": _trace,
    "maximize": _maximize,
}


def notes_of(error):
    """The notes of this package; JAX writes one of its own."""
    notes = getattr(error, "__notes__", ())
    return [note for note in notes if note.startswith("The model was called")]


# `maximize` makes images of its own, and looks at `apply_fn` itself.
NOT_THERE = {("the logits", "maximize"), ("two dtypes", "maximize")}


@pytest.mark.parametrize(
    ("name", "call"),
    [(n, c) for n in MISTAKES for c in CALLS if (n, c) not in NOT_THERE],
)
def test_the_models_own_error_gets_a_note(name, call, unchecked):
    mistake = MISTAKES[name]
    with pytest.raises(mistake.error) as error:
        CALLS[call](mistake)
    assert re.search(mistake.own, str(error.value))
    assert "Likely cause" not in str(error.value)
    (note,) = notes_of(error.value)
    assert re.search(f"(?s){mistake.note}", note)
    assert "Trace" not in note


CALLS_OF_INPUTS = [call for call in CALLS if call != "maximize"]


def test_under_jit_the_note_shows_shapes_too():
    attribute = jax.jit(ji.attribution.gradient(NET.apply))
    with pytest.raises(errors.ScopeParamShapeError) as error:
        attribute(VARIABLES, np.moveaxis(IMAGES, -1, 1), TARGET)
    (note,) = notes_of(error.value)
    assert "    inputs float32[2, 3, 8, 8]\nLikely cause: `inputs` has its 3" in note
    assert "Trace" not in note


@pytest.mark.parametrize("call", CALLS_OF_INPUTS)
@pytest.mark.parametrize("name", OF_INPUTS)
def test_inputs_in_the_wrong_place_or_shape_are_told(name, call, unchecked):
    mistake = OF_INPUTS[name]
    with pytest.raises(mistake.error) as error:
        CALLS[call](mistake)
    text = "\n".join([str(error.value), *getattr(error.value, "__notes__", ())])
    assert re.search(f"(?s)Likely cause: .*{mistake.note}", text)


def test_left_out_variables_are_told_where_noise_is_added():
    smooth = ji.attribution.smooth(ji.attribution.gradient(NET.apply))
    note = OF_INPUTS["the variables are left out"].note
    with pytest.raises(TypeError, match=f"(?s)Likely cause: .*{note}"):
        smooth(IMAGES, TARGET, key=KEY)


def test_maximize_does_not_print_the_logits(unchecked):
    with pytest.raises(TypeError, match=r"given float32\[2, 5\].\nWrite `max"):
        CALLS["maximize"](MISTAKES["the logits"])


def test_arrays_of_other_shapes_are_no_cause():
    def model(variables, inputs):
        raise ValueError("the user's own")

    with pytest.raises(ValueError, match=r"^the user's own") as error:
        ji.trace(model, VARIABLES, IMAGES)
    lines = [line.strip() for line in notes_of(error.value)[0].splitlines()]
    assert lines[-2:] == ["and 2 more", "inputs float32[2, 8, 8, 3]"]
    assert "variables['params']['Conv_0']['bias'] float32[4]" in lines


def test_the_note_is_written_once_however_deep_the_call():
    def model(variables, inputs):
        return ji.capture(NET.apply, "*")(variables, inputs)[0]

    nested = ji.with_rules(ji.intervene(model, {"*": 0.0}), ji.rules.epsilon_plus())
    with pytest.raises(errors.ScopeCollectionNotFound) as error:
        ji.attribution.lrp(nested)({}, IMAGES, TARGET)
    assert len(notes_of(error.value)) == 1


def test_errors_of_this_package_get_no_note():
    def model(variables, inputs):
        return ji.capture(NET.apply, "nowhere")(variables, inputs)[0]

    with pytest.raises(ji.tracing.AddressError) as error:
        ji.attribution.gradient(model)(VARIABLES, IMAGES, TARGET)
    assert not notes_of(error.value)


def test_a_working_model_is_called_as_it_is():
    apply_fn, variables = ji.models.from_linen(NET, VARIABLES)
    expected = ji.attribution.gradient(NET.apply)(VARIABLES, IMAGES, TARGET)
    received = ji.attribution.gradient(apply_fn)(variables, IMAGES, TARGET)
    np.testing.assert_array_equal(received, expected)


def test_a_function_of_haiku_is_told(unchecked):
    hk = pytest.importorskip("haiku", reason="Haiku is an optional dependency")
    mlp = hk.transform(lambda x: hk.nets.MLP([5])(x.mean((1, 2))))
    params = mlp.init(KEY, IMAGES)
    drops = hk.transform(lambda x: hk.dropout(hk.next_rng_key(), 0.5, x).mean((1, 2)))
    for model, error, message in (
        (mlp, TypeError, r"from_haiku\(model, params\)"),
        (mlp.apply, ValueError, r"from_haiku\(model, params\)"),
        (lambda v, x: drops.apply({}, None, x), Exception, "dropout is on"),
    ):
        with pytest.raises(error) as raised:
            ji.attribution.gradient(model)(params, IMAGES, TARGET)
        assert re.search(f"Likely cause: (?s:.*){message}", notes_of(raised.value)[0])


# --- What the model returns -----------------------------------------------------------


@pytest.mark.parametrize("call", ["gradient", "lrp", "integrated_gradients"])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda v, x: NET.apply(v, x, mutable=["batch_stats"]),
            r"returns \(\(2, 5\), \{.*apply_fn\(variables, inputs\)\[0\]`",
        ),
        (
            lambda v, x: {"features": NET.apply(v, x), "logits": NET.apply(v, x)},
            r"apply_fn\(variables, inputs\)\['logits'\]`",
        ),
        (
            lambda v, x: NET.apply(v, x)[:, 0],
            r"returns \(2,\).*`score='total'`.*`inputs\[None\]`",
        ),
        (lambda v, x: NET.apply(v, x)[:, :1], r"target 1 is out.*`score='total'`"),
    ],
)
def test_outputs_that_are_no_logits_are_told(call, model, message, unchecked):
    mistake = Mistake(ValueError, "", "", model=model)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        CALLS[call](mistake)


def test_the_error_of_an_objective_of_ones_own_gets_a_note():
    reads = ji.objectives.custom(lambda view: view["Conv_0"].mean((1, 2, 3)), "Conv_0")
    attribute = ji.attribution.gradient(NET.apply, score=reads)
    with pytest.raises(TypeError, match="tuple indices") as error:
        attribute(VARIABLES, IMAGES)
    (note,) = (n for n in error.value.__notes__ if n.startswith("custom()"))
    (snippet, *_) = re.findall(r"`(view\.[^`]+)`", note)
    mended = ji.objectives.custom(
        lambda view: eval(snippet, {"view": view}).mean((1, 2, 3)), "Conv_0"
    )
    attribute = ji.attribution.gradient(NET.apply, score=mended)
    assert attribute(VARIABLES, IMAGES).shape == IMAGES.shape


@pytest.mark.parametrize("call", ["gradient", "lrp", "integrated_gradients"])
def test_the_error_of_a_score_gets_a_note(call):
    def score(outputs, target):
        return outputs[:, 1]

    method = getattr(ji.attribution, call)(lambda v, x: (NET.apply(v, x),), score=score)
    with pytest.raises(TypeError, match="tuple indices") as error:
        method(VARIABLES, IMAGES, TARGET)
    (note,) = (n for n in error.value.__notes__ if n.startswith("The score"))
    assert re.search(r"(?s)shape \(\(2, 5\),\) .* shape \(2,\).*\[0\]`", note)
