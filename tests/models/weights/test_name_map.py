"""A name map puts each tensor in its place, and an error lists all that do not fit."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxinterp.models.weights import Entry, WeightsError, fill


def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


TEMPLATE = {
    "params": {
        "layer1_0": {"conv": {"kernel": shape(3, 3, 2, 4)}},
        "layer1_1": {"conv": {"kernel": shape(3, 3, 4, 4)}},
    },
    "batch_stats": {"mean": shape(4)},
}
NAME_MAP = (
    Entry(
        r"layer(\d)\.(\d)\.conv\.weight",
        r"params/layer\1_\2/conv/kernel",
        "oihw->hwio",
    ),
    Entry(r"bn\.running_mean", "batch_stats/mean"),
    Entry(r".*\.num_batches_tracked", ""),
)


def checkpoint(**changes):
    generator = np.random.default_rng(0)
    tensors = {
        "layer1.0.conv.weight": generator.normal(size=(4, 2, 3, 3)),
        "layer1.1.conv.weight": generator.normal(size=(4, 4, 3, 3)),
        "bn.running_mean": generator.normal(size=4),
        "bn.num_batches_tracked": np.int64(7),
    }
    tensors = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    return {k: v for k, v in (tensors | changes).items() if v is not None}


def message_for(tensors, name_map=NAME_MAP, template=TEMPLATE):
    with pytest.raises(WeightsError) as caught:
        fill(template, tensors, name_map, source="file.npz")
    return str(caught.value)


def test_each_tensor_goes_where_its_groups_say_in_the_layout_asked_for():
    tensors = checkpoint()
    variables = fill(TEMPLATE, tensors, NAME_MAP, source="file.npz")
    assert jax.tree.structure(variables) == jax.tree.structure(TEMPLATE)
    for i in (0, 1):
        kernel = variables["params"][f"layer1_{i}"]["conv"]["kernel"]
        stored = tensors[f"layer1.{i}.conv.weight"].astype(np.float32)
        for o, c, h, w in np.ndindex(*stored.shape):
            assert kernel[h, w, c, o] == stored[o, c, h, w]


def test_the_dtype_is_that_of_the_template_unless_another_is_asked_for():
    tensors = {k: v.astype(np.float16) for k, v in checkpoint().items()}
    kept = fill(TEMPLATE, tensors, NAME_MAP, source="x")
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {np.dtype("float32")}
    asked = fill(TEMPLATE, tensors, NAME_MAP, source="x", dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(asked)} == {np.dtype(jnp.bfloat16)}


def test_bfloat16_is_a_floating_point_number():
    template = {"w": shape(3)}
    tensors = {"w": np.array([1.0, 0.5, -2.0], jnp.bfloat16)}
    filled = fill(template, tensors, (Entry("w", "w"),), source="x")
    assert filled["w"].tolist() == [1.0, 0.5, -2.0]


def test_integers_stay_integers_whatever_dtype_is_asked_for():
    template = {"table": shape(2, dtype=jnp.int32)}
    tensors = {"table": np.array([3, 4])}
    filled = fill(template, tensors, (Entry("table", "table"),), source="x", dtype="f4")
    assert filled["table"].dtype == np.int32


def test_the_first_line_that_matches_decides():
    name_map = (Entry(r"bn\.running_mean", ""), *NAME_MAP)
    assert "batch_stats/mean (4,)" in message_for(checkpoint(), name_map)


def test_a_pattern_must_match_the_whole_name():
    tensors = checkpoint(**{"teacher.bn.running_mean": np.zeros(4)})
    assert "teacher.bn.running_mean" in message_for(tensors)


def test_one_tensor_may_be_split_over_several_places():
    template = {"attn": {name: {"kernel": shape(2, 3)} for name in "qkv"}}

    def split(fused):
        parts = np.split(fused, 3, axis=1)
        return {f"{n}/kernel": part for n, part in zip("qkv", parts, strict=True)}

    fused = np.arange(18.0).reshape(9, 2)
    entry = Entry("c_attn", "attn", "oi->io", split)
    filled = fill(template, {"c_attn": fused}, (entry,), source="x")
    np.testing.assert_array_equal(filled["attn"]["k"]["kernel"], fused[3:6].T)


def test_what_cannot_be_split_is_a_wrong_shape_and_not_missing():
    template = {"attn": {name: shape(2, 3) for name in "qkv"}}

    def split(fused):
        return dict(zip("qkv", np.split(fused, 3), strict=True))

    entry = Entry("c_attn", "attn", "", split)
    message = message_for({"c_attn": np.zeros((2, 8))}, (entry,), template)
    assert "Wrong shape (1):\n    c_attn (2, 8) -> attn: " in message
    assert "Missing" not in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"extra.weight": np.zeros((2, 3))}, "Unknown, no line of the name map fits"),
        ({"extra.weight": np.zeros((2, 3))}, "extra.weight (2, 3)"),
        ({"layer1.1.conv.weight": None}, "params/layer1_1/conv/kernel (3, 3, 4, 4)"),
        (
            {"layer2.0.conv.weight": np.zeros((4, 4, 3, 3))},
            "layer2.0.conv.weight -> params/layer2_0/conv/kernel",
        ),
        (
            {"layer1.0.conv.weight": np.zeros((4, 3, 5, 5))},
            "found (5, 5, 3, 4), needed (3, 3, 2, 4)",
        ),
        (
            {"layer1.0.conv.weight": np.zeros((4, 3))},
            "(4, 3) -> params/layer1_0/conv/kernel: oihw->hwio",
        ),
        (
            {"bn.running_mean": np.zeros(4, np.int8)},
            "bn.running_mean -> batch_stats/mean: found int8, needed float32",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes, expected):
    message = message_for(checkpoint(**changes))
    assert message.startswith("The tensors of file.npz do not fit the model.")
    assert expected in message


def test_a_place_that_is_filled_twice_names_both_tensors():
    name_map = (*NAME_MAP, Entry("mean", "batch_stats/mean"))
    message = message_for(checkpoint(mean=np.zeros(4)), name_map)
    assert "bn.running_mean and mean -> batch_stats/mean" in message


def test_one_message_lists_every_problem():
    message = message_for(
        checkpoint(
            **{
                "a": np.zeros(1),
                "b": np.zeros(1),
                "layer1.0.conv.weight": None,
                "layer1.1.conv.weight": None,
                "bn.running_mean": np.zeros(5),
            }
        )
    )
    for part in ("(2):\n    a (1,)\n    b (1,)", "layer1_0", "layer1_1", "found (5,)"):
        assert part in message


def test_a_wrong_shape_is_not_reported_as_missing_too():
    assert "Missing" not in message_for(checkpoint(**{"bn.running_mean": np.ones(5)}))


def test_a_tensor_of_wrong_rank_is_reported_as_missing_only_once():
    message = message_for(checkpoint(**{"layer1.0.conv.weight": np.ones((4, 3))}))
    assert "Missing" not in message


def test_a_long_list_is_cut_and_counted():
    many = {f"extra{i}": np.zeros(1) for i in range(25)}
    message = message_for(checkpoint(**many))
    assert "(25):" in message
    assert "extra19" in message
    assert "extra20" not in message
    assert "... and 5 more" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_what_is_no_finite_number_is_listed_with_its_tensor(value, dtype):
    kernel = np.zeros((4, 2, 3, 3), dtype)
    kernel[0, 1, 2] = value
    message = message_for(checkpoint(**{"layer1.0.conv.weight": kernel}))
    assert "NaN or infinite, which `convert=np.nan_to_num` would replace (1)" in message
    place = "layer1.0.conv.weight -> params/layer1_0/conv/kernel"
    assert f"{place}: 3 of 72 numbers" in message


def test_the_advice_about_nan_works():
    name_map = (Entry("w", "w", convert=np.nan_to_num),)
    tensors = {"w": np.array([np.nan, 2.0])}
    assert fill({"w": shape(2)}, tensors, name_map, source="x")["w"].tolist() == [0, 2]


def test_nan_in_what_is_not_needed_is_no_error():
    tensors = {"w": np.ones(2), "mask": np.full(2, -np.inf)}
    name_map = (Entry("w", "w"), Entry("mask", ""))
    assert fill({"w": shape(2)}, tensors, name_map, source="x")["w"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("tensor", "needed", "asked", "found"),
    [
        (np.float32([1e6, 0]), jnp.float32, jnp.float16, "0.0 to 1000000.0, needed fl"),
        (np.float64([0, 1e300]), jnp.float32, None, "0.0 to 1e+300, needed float32"),
        (np.float32([0, 1e6]), jnp.float32, jnp.float8_e4m3fn, "needed float8_e4m3fn"),
        (np.array([300, -1]), jnp.int8, None, "found -1 to 300, needed int8"),
    ],
)
def test_numbers_that_the_dtype_does_not_have_are_an_error(
    tensor, needed, asked, found
):
    with pytest.raises(WeightsError, match="Too large for the dtype") as caught:
        fill(
            {"w": shape(2, dtype=needed)},
            {"w": tensor},
            (Entry("w", "w"),),
            source="x",
            dtype=asked,
        )
    assert "w -> w: found " in str(caught.value)
    assert found in str(caught.value)


def test_what_the_dtype_rounds_is_no_error():
    tensors = {"w": np.array([1e-30, 65504.0, 1 / 3])}
    filled = fill(
        {"w": shape(3)}, tensors, (Entry("w", "w"),), source="x", dtype="float16"
    )
    assert filled["w"].tolist() == [0.0, 65504.0, float(np.float16(1 / 3))]


@pytest.mark.parametrize(
    ("tensor", "needed"),
    [
        (np.array(["a", "b"]), jnp.int32),
        (np.zeros(2, "V3"), jnp.float32),
        (np.array([1j, 2]), jnp.float32),
        (np.array([True, False]), jnp.float32),
    ],
)
def test_another_kind_of_number_is_an_error(tensor, needed):
    template = {"w": shape(2, dtype=needed)}
    message = message_for({"w": tensor}, (Entry("w", "w"),), template)
    assert f"found {tensor.dtype}, needed {np.dtype(needed)}" in message


def test_a_dtype_that_nobody_has_is_an_error():
    with pytest.raises(ValueError, match="is 'bf16', which is no dtype"):
        fill(TEMPLATE, checkpoint(), NAME_MAP, source="x", dtype="bf16")


@pytest.mark.parametrize("dtype", [jnp.int8, "int32", bool, complex])
def test_a_dtype_that_weights_do_not_have_is_an_error(dtype):
    with pytest.raises(ValueError, match=r"floating-point weights, and is .*`dtype=jn"):
        fill(TEMPLATE, checkpoint(), NAME_MAP, source="x", dtype=dtype)


def test_a_dtype_that_jax_does_not_have_is_an_error():
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match=r"update\('jax_enable_x64', True\)"),
    ):
        fill(TEMPLATE, checkpoint(), NAME_MAP, source="x", dtype="float64")


# --- Conversions that fail ------------------------------------------------------------


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("convert", "line"),
    [
        (lambda w: _raise(KeyError("scale")), "w (2,) -> w: KeyError: 'scale'"),
        (lambda w: w.no_such, "w (2,) -> w: AttributeError: "),
        (lambda w: None, "w (2,) -> w: found NoneType"),
        (lambda w: [1.0, 2.0], "w (2,) -> w: found list"),
        (lambda w: {"a": w, "b": "text"}, "w (2,) -> w/b: found str"),
    ],
)
def test_a_conversion_that_fails_is_listed_beside_all_else(convert, line):
    template = {"w": shape(2)}
    name_map = (Entry("w", "w", "", convert),)
    message = message_for({"w": np.ones(2), "more": np.ones(1)}, name_map, template)
    assert line in message
    assert "more (1,)" in message


def test_a_conversion_may_use_jax():
    name_map = (Entry("w", "w", "", jnp.negative),)
    filled = fill({"w": shape(2)}, {"w": np.ones(2)}, name_map, source="x")
    assert filled["w"].tolist() == [-1.0, -1.0]


# --- Two tensors that are tied --------------------------------------------------------

TIED = (
    Entry("embedding", "embedding"),
    Entry("head", "embedding", "ov->vo", is_copy=True),
)
EMBEDDING = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize("order", [("embedding", "head"), ("head", "embedding")])
def test_a_copy_is_compared_with_what_it_copies(order):
    tensors = {"embedding": EMBEDDING, "head": EMBEDDING.T}
    tensors = {name: tensors[name] for name in order}
    filled = fill({"embedding": shape(3, 2)}, tensors, TIED, source="x")
    np.testing.assert_array_equal(filled["embedding"], EMBEDDING)
    tensors["head"] = EMBEDDING.T + 1e-3
    message = message_for(tensors, TIED, {"embedding": shape(3, 2)})
    assert "Different, and the model has one variable for both" in message
    assert f"{order[0]} and {order[1]} -> embedding" in message


def test_a_copy_alone_fills_the_place():
    filled = fill({"embedding": shape(3, 2)}, {"head": EMBEDDING.T}, TIED, source="x")
    np.testing.assert_array_equal(filled["embedding"], EMBEDDING)


def test_a_copy_of_another_shape_is_an_error():
    tensors = {"embedding": EMBEDDING, "head": np.ones((5, 3))}
    message = message_for(tensors, TIED, {"embedding": shape(3, 2)})
    assert "head -> embedding: found (3, 5), needed (3, 2)" in message


# --- Name maps that cannot be read ----------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (Entry("(.+", "w"), "unterminated subpattern"),
        (Entry(".+", r"\1"), "invalid group reference 1"),
        (Entry("(?P<name>.+)", r"\g<other>"), "unknown group name 'other'"),
        (Entry("(.+)", r"\w"), r"bad escape \\w"),
        (Entry("w", "w", "oihw"), "layout 'oihw' is no permutation"),
        (Entry("w", "w", "oo->oo"), "layout 'oo->oo' is no permutation"),
        (Entry("w", "w", "oi->ih"), "layout 'oi->ih' is no permutation"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_even_if_nothing_matches_it(line, reason):
    name_map = (*NAME_MAP, line)
    with pytest.raises(WeightsError, match=reason) as caught:
        fill(TEMPLATE, checkpoint(), name_map, source="x")
    assert str(caught.value).startswith("Line 4 of the name map cannot be read")
    assert repr(line.pattern) in str(caught.value)


@pytest.mark.parametrize(
    ("name_map", "message"),
    [
        (Entry("w", "w"), r"is a single one, .*Write `\(Entry\(\.\.\.\),\)`"),
        ((Entry("w", "w"), ("b", "b")), r"Line 2 .* is no `Entry`, but \('b', 'b'\)"),
        (("w", "w"), "Line 1 of the name map is no `Entry`, but 'w'"),
    ],
)
def test_what_is_no_name_map_is_an_error(name_map, message):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(TypeError, match=message):
            fill({"w": shape(2)}, {"w": np.ones(2)}, name_map, source="x")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_the_advice_of_the_error_works():
    tensors = checkpoint(extra=np.zeros(1))
    assert "`Entry(pattern, '')`" in message_for(tensors)
    fill(TEMPLATE, tensors, (*NAME_MAP, Entry("extra", "")), source="x")
