"""`load` finds the file, fills the model and says what it takes and gives."""

import gzip

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.models.weights import CATALOG, Entry, WeightsError, channels_last
from jaxinterp.models.weights import load as loading
from jaxinterp.models.weights.hub import HubFile
from jaxinterp.models.weights.preprocess import HALF

INPUTS = jax.ShapeDtypeStruct((1, 3), jnp.float32)
TORCH_DENSE = (
    Entry("weight", "params/kernel", "oi->io"),
    Entry("bias", "params/bias"),
)


@pytest.fixture
def dense(tmp_path):
    """A file with the weights of a dense layer from three features to two."""
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(2, 3)).astype(np.float32)
    np.savez(tmp_path / "dense.npz", weight=weight, bias=np.float32([1.0, -1.0]))
    return tmp_path / "dense.npz", weight


@pytest.fixture
def lenet(tmp_path):
    """A file with random weights of a LeNet, and what they are."""
    generator = np.random.default_rng(0)
    sizes = {"convnet.c1": (6, 1, 5, 5), "convnet.c3": (16, 6, 5, 5)}
    sizes |= {"convnet.c5": (120, 16, 5, 5), "fc.f6": (84, 120), "fc.f7": (10, 84)}
    tensors = {}
    for name, shape in sizes.items():
        tensors[f"{name}.weight"] = 0.1 * generator.normal(size=shape)
        tensors[f"{name}.bias"] = 0.1 * generator.normal(size=shape[0])
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    np.savez(tmp_path / "lenet.npz", **tensors)
    return tmp_path / "lenet.npz", tensors


def test_a_module_of_ones_own_is_filled(dense):
    path, weight = dense
    loaded = ji.models.load(
        path,
        model=nn.Dense(2),
        name_map=TORCH_DENSE,
        inputs=INPUTS,
        class_names=("cat", "dog"),
    )
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_allclose(
        loaded.apply_fn(loaded.variables, x), x @ weight.T + [[1.0, -1.0]], rtol=1e-5
    )
    assert loaded.class_names == ("cat", "dog")
    assert loaded.preprocess is None


def test_names_of_the_catalog_bring_everything_along(lenet):
    path, tensors = lenet
    loaded = ji.models.load(str(path), model="lenet_mnist")
    kernel = loaded.variables["params"]["c3"]["kernel"]
    expected = np.moveaxis(tensors["convnet.c3.weight"], (2, 3, 1, 0), (0, 1, 2, 3))
    np.testing.assert_array_equal(kernel, expected)
    assert loaded.preprocess is CATALOG["lenet_mnist"].preprocess
    assert loaded.class_names == tuple("0123456789")
    digits = np.zeros((2, 28, 28, 1), np.uint8)
    logits = loaded.apply_fn(loaded.variables, loaded.preprocess(digits))
    assert logits.shape == (2, 10)


@pytest.mark.parametrize("make", [dict, "torch"])
def test_arrays_are_taken_as_a_file_of_them_is(dense, make):
    path, _ = dense
    arrays = dict(np.load(path))
    if make == "torch":
        torch = pytest.importorskip("torch", reason="PyTorch is an optional dependency")
        arrays = {f"module.{k}": torch.from_numpy(v) for k, v in arrays.items()}
    options = {"model": nn.Dense(2), "name_map": TORCH_DENSE, "inputs": INPUTS}
    loaded = ji.models.load(arrays, **options)
    expected = ji.models.load(path, **options)
    chex.assert_trees_all_equal(loaded.variables, expected.variables)


def test_arrays_that_do_not_fit_are_an_error(dense):
    path, weight = dense
    options = {"model": nn.Dense(2), "name_map": TORCH_DENSE, "inputs": INPUTS}
    with pytest.raises(WeightsError, match="mapping of arrays"):
        ji.models.load({"weight": weight}, **options)
    with pytest.raises(WeightsError, match=r"'params' .* is a dict.*from_linen\(modul"):
        ji.models.load({"params": {"kernel": weight}}, **options)
    with pytest.raises(ValueError, match="does not say of which model they are"):
        ji.models.load(dict(np.load(path)))
    with pytest.raises(ValueError, match="go with a file"):
        ji.models.load(dict(np.load(path)), download=True, **options)


def test_inputs_may_be_given_beside_a_name_of_the_catalog(lenet):
    wrong = jnp.zeros((1, 28, 28, 1), jnp.float32)
    with pytest.raises(ValueError, match="LeNet takes images of shape"):
        ji.models.load(lenet[0], model="lenet_mnist", inputs=wrong)


def test_a_module_of_other_sizes_uses_the_map_of_an_entry(lenet):
    path, tensors = lenet
    small = {
        name: tensor[:4] if "f7" in name else tensor for name, tensor in tensors.items()
    }
    np.savez(path, **small)
    loaded = ji.models.load(
        path,
        model=ji.models.LeNet(classes=4),
        name_map="lenet_mnist",
        inputs=jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32),
    )
    assert loaded.variables["params"]["f7"]["kernel"].shape == (84, 4)
    # Nobody knows which pictures these weights were trained on, and the entry does not.
    assert loaded.preprocess is None
    assert loaded.class_names is None


def test_preprocessing_may_be_given(lenet):
    loaded = ji.models.load(lenet[0], model="lenet_mnist", preprocess=HALF)
    assert loaded.preprocess is HALF


def test_a_map_may_be_a_function_of_the_module(dense):
    def name_map(module):
        assert module == nn.Dense(2)
        return TORCH_DENSE

    ji.models.load(dense[0], model=nn.Dense(2), name_map=name_map, inputs=INPUTS)


def test_variables_saved_under_their_own_paths_need_no_map(tmp_path):
    module = nn.Sequential([nn.Dense(4), nn.BatchNorm(use_running_average=True)])
    variables = module.init(jax.random.key(0), jnp.ones((1, 3), jnp.float32))
    leaves = jax.tree.leaves_with_path(variables)
    by_path = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }
    np.savez(tmp_path / "own.npz", **by_path)
    loaded = ji.models.load(tmp_path / "own.npz", model=module, inputs=INPUTS)
    chex.assert_trees_all_equal(loaded.variables, variables)


def test_the_dtype_may_be_chosen(lenet):
    loaded = ji.models.load(lenet[0], model="lenet_mnist", dtype=jnp.bfloat16)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(loaded.variables)}
    assert dtypes == {np.dtype(jnp.bfloat16)}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"cat\ndog\n", id="plain"),
        pytest.param(b"\xef\xbb\xbfcat\r\ndog\r\n\r\n \n", id="of Windows"),
    ],
)
def test_class_names_are_read_from_a_file(dense, tmp_path, content):
    (tmp_path / "names.txt").write_bytes(content)
    loaded = ji.models.load(
        dense[0],
        model=nn.Dense(2),
        name_map=TORCH_DENSE,
        inputs=INPUTS,
        class_names=tmp_path / "names.txt",
    )
    assert loaded.class_names == ("cat", "dog")


@pytest.fixture
def asked(lenet, monkeypatch):
    """What the hub was asked for; it has one entry, `lenet`."""
    asked = []

    def fetch(file, *, download, sha256):
        asked.append((file, download, sha256))
        return lenet[0]

    entry = CATALOG["lenet_mnist"]._replace(hub=HubFile("owner/lenet"))
    monkeypatch.setattr(loading, "CATALOG", {"lenet": entry})
    monkeypatch.setattr(loading, "fetch", fetch)
    return asked


def test_a_name_of_the_catalog_is_looked_up_on_the_hub(asked):
    ji.models.load("lenet")
    ji.models.load("lenet", download=True, sha256="0" * 64)
    file = HubFile("owner/lenet")
    assert asked == [(file, False, None), (file, True, "0" * 64)]


def test_the_revision_on_the_hub_may_be_chosen(asked):
    ji.models.load("lenet", revision="v1.0")
    assert asked == [(HubFile("owner/lenet", revision="v1.0"), False, None)]


@pytest.mark.usefixtures("asked")
def test_inputs_beside_a_name_alone_are_used_too():
    wrong = jnp.zeros((1, 28, 28, 1), jnp.float32)
    with pytest.raises(ValueError, match="LeNet takes images of shape"):
        ji.models.load("lenet", inputs=wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": jnp.int8}, "`dtype` is that of the floating-point weights"),
        ({"dtype": "bf16"}, "is 'bf16', which is no dtype. Write `dtype=jnp.bfloat16`"),
        ({"sha256": "abc"}, "64 hexadecimal digits, and `sha256` is 'abc'"),
        ({"sha256": ""}, "64 hexadecimal digits, and `sha256` is ''"),
        ({"name_map": (Entry("(", ""),)}, "Line 1 of the name map cannot be read"),
    ],
)
def test_wrong_arguments_are_found_before_anything_is_downloaded(
    asked, options, message
):
    with pytest.raises(ValueError, match=message):
        ji.models.load("lenet", download=True, **options)
    assert not asked


def test_what_does_not_fit_names_the_file(lenet):
    path, tensors = lenet
    np.savez(path, **tensors, extra=np.zeros(3))
    with pytest.raises(WeightsError, match=r"lenet\.npz do not fit") as caught:
        ji.models.load(path, model="lenet_mnist")
    assert "extra (3,)" in str(caught.value)


def test_a_checksum_of_a_local_file_is_checked(lenet):
    with pytest.raises(WeightsError, match="expected SHA-256 0000"):
        ji.models.load(lenet[0], model="lenet_mnist", sha256="0" * 64)


def test_a_checksum_is_that_of_one_file(lenet, tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"w": "lenet.npz"}}')
    for path in (index, tmp_path):
        with pytest.raises(ValueError, match="`sha256` verifies a single file, and"):
            ji.models.load(path, model="lenet_mnist", sha256="0" * 64)


@pytest.mark.parametrize("model", [None, "lenet_mnist"])
def test_an_empty_path_is_an_error(model):
    with pytest.raises(ValueError, match=r"`name_or_path` is empty.*\(\"resnet18\""):
        ji.models.load("", model=model)


@pytest.mark.parametrize("names", [("a", "b", "c"), ()])
def test_another_number_of_class_names_is_an_error(dense, names):
    with pytest.raises(ValueError, match=rf"{len(names)} class names, .* \(1, 2\)"):
        ji.models.load(
            dense[0],
            model=nn.Dense(2),
            name_map=TORCH_DENSE,
            inputs=INPUTS,
            class_names=names,
        )


def test_a_path_without_a_model_is_an_error(dense):
    with pytest.raises(ValueError, match="does not say of which model"):
        ji.models.load(dense[0])


def test_a_module_without_inputs_is_an_error(dense):
    with pytest.raises(ValueError, match="`inputs` must be given"):
        ji.models.load(dense[0], model=nn.Dense(2), name_map=TORCH_DENSE)


@pytest.mark.parametrize("model", [None, "lenet_mnist"])
def test_a_file_that_is_not_there_is_an_error(tmp_path, model):
    error = ValueError if model is None else FileNotFoundError
    with pytest.raises(error, match="There is no file"):
        ji.models.load(tmp_path / "nothing.npz", model=model)


def test_an_unknown_name_lists_the_nearest_ones():
    with pytest.raises(ValueError, match="Is it 'resnet18'"):
        ji.models.load("resnet-18")
    with pytest.raises(ValueError, match="Is it 'lenet_mnist'"):
        ji.models.load(__file__, model="lenet-mnist")


def test_a_wrong_name_of_the_catalog_names_the_one_that_fits(lenet):
    message = r"fits 'lenet_mnist', and was read as 'resnet8_cifar10'"
    with pytest.raises(WeightsError, match=message):
        ji.models.load(lenet[0], model="resnet8_cifar10")


def test_a_file_that_fits_no_name_names_none(dense):
    with pytest.raises(WeightsError, match="do not fit") as error:
        ji.models.load(dense[0], model="lenet_mnist")
    assert "was read as" not in str(error.value)


# --- Against the original -------------------------------------------------------------


class Flattening(nn.Module):
    """A dense layer that reads flattened feature maps."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(x.reshape(x.shape[0], -1))


@pytest.fixture
def flattening(tmp_path):
    """A file of PyTorch's order, a batch, and what PyTorch computes of it."""
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(4, 5 * 2 * 3)).astype(np.float32)
    inputs = generator.normal(size=(7, 2, 3, 5)).astype(np.float32)
    np.savez(tmp_path / "flat.npz", weight=weight, bias=np.float32([1, 2, 3, 4]))
    channels_first = np.moveaxis(inputs, -1, 1).reshape(7, -1)
    outputs = channels_first @ weight.T + np.float32([[1, 2, 3, 4]])
    return tmp_path / "flat.npz", inputs, outputs


def load_flattening(path, check, convert=None, **options):
    name_map = (
        Entry("weight", "params/Dense_0/kernel", "oi->io", convert),
        Entry("bias", "params/Dense_0/bias"),
    )
    inputs = jax.ShapeDtypeStruct((1, 2, 3, 5), jnp.float32)
    return ji.models.load(
        path,
        model=Flattening(),
        name_map=name_map,
        inputs=inputs,
        check=check,
        **options,
    )


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_weights_in_the_order_of_the_model_pass_the_check(flattening, dtype):
    path, inputs, outputs = flattening
    convert = channels_last(2, 3)
    loaded = load_flattening(path, (inputs, outputs), convert, dtype=dtype)
    tolerance = 1e-4 if dtype is None else 0.2
    computed = loaded.apply_fn(loaded.variables, inputs)
    np.testing.assert_allclose(computed, outputs, atol=tolerance)


def test_weights_in_another_order_load_and_fail_the_check(flattening):
    path, inputs, outputs = flattening
    load_flattening(path, None)
    message = r"(?s)largest difference .* instead of .*channels_last\(height, width\)"
    with pytest.raises(WeightsError, match=message):
        load_flattening(path, (inputs, outputs))


@pytest.mark.parametrize("factor", [1.0005, 0.9995])
def test_outputs_may_be_rounded_otherwise(flattening, factor):
    path, inputs, outputs = flattening
    load_flattening(path, (inputs, factor * outputs), channels_last(2, 3))
    with pytest.raises(WeightsError, match=r"0\.001 of the largest"):
        load_flattening(path, (inputs, factor**5 * outputs), channels_last(2, 3))


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda x, y: x, "is a ndarray. Write `check="),
        (lambda x, y: (x, y[:, :2]), r"shapes \[\(7, 2\)\], and those .* \[\(7, 4\)"),
        (lambda x, y: (np.moveaxis(x, -1, 1), y), r"`np\.moveaxis\(inputs, 1, -1\)`"),
        (lambda x, y: (x, y * np.nan), "are not finite"),
    ],
)
def test_what_cannot_be_compared_is_an_error(flattening, check, message):
    path, inputs, outputs = flattening
    with pytest.raises(ValueError, match=message):
        load_flattening(path, check(inputs, outputs))


def test_a_model_that_computes_nan_fails_the_check(flattening):
    path, inputs, outputs = flattening
    with pytest.raises(WeightsError, match="nan instead of"):
        load_flattening(path, (inputs * np.nan, outputs), channels_last(2, 3))


def test_weights_that_are_on_no_hub_are_an_error_that_names_them():
    with pytest.raises(ValueError, match=r"torchvision's `alexnet`.*model='alexnet'"):
        ji.models.load("alexnet", download=True)


@pytest.mark.parametrize("options", [{"download": True}, {"revision": "main"}])
def test_what_asks_the_hub_does_not_go_with_a_path(dense, options):
    with pytest.raises(ValueError, match=r"go with a name of the catalog, .*dense"):
        ji.models.load(dense[0], model="lenet_mnist", **options)


# --- The catalog ----------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOG)
def test_an_entry_says_where_its_file_is_and_what_goes_in_and_out(name):
    entry = CATALOG[name]
    assert (entry.hub is None) == bool(entry.origin)
    if isinstance(entry.preprocess, ji.models.Preprocess):
        pictures = np.zeros((1, *entry.inputs.shape[1:]), np.uint8)
        assert entry.preprocess(pictures).shape == entry.inputs.shape
    if entry.class_names is not None:
        variables = loading.shapes(entry.module, entry.inputs)
        outputs = jax.eval_shape(entry.module.apply, variables, entry.inputs)
        assert outputs.shape == (1, len(entry.class_names))


def test_a_loaded_lenet_reads_digits(real_data):
    loaded = ji.models.load(real_data / "lenet_mnist.safetensors", model="lenet_mnist")
    with gzip.open(real_data / "t10k-images-idx3-ubyte.gz") as file:
        digits = np.frombuffer(file.read(16 + 300 * 784)[16:], np.uint8)
    with gzip.open(real_data / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(8 + 300)[8:], np.uint8)
    inputs = loaded.preprocess(digits.reshape(300, 28, 28, 1))
    found = loaded.apply_fn(loaded.variables, inputs).argmax(axis=1)
    assert (found == labels).mean() > 0.97


@pytest.mark.slow(reason="GoogLeNet on photographs")
def test_a_loaded_googlenet_names_what_is_on_photographs(real_data):
    image = pytest.importorskip("PIL.Image", reason="reads the photographs")
    loaded = ji.models.load(
        real_data / "googlenet.safetensors",
        model="googlenet_caffe",
        class_names=real_data / "imagenet_classes.txt",
    )
    paths = sorted((real_data / "imagenet_samples").glob("*.jpg"))[::30]
    pictures = np.stack([np.asarray(image.open(path).convert("RGB")) for path in paths])
    inputs = loaded.preprocess(pictures)
    found = jax.jit(loaded.apply_fn)(loaded.variables, inputs).argmax(axis=1)
    truth = np.array([int(path.name.split("_")[0]) for path in paths])
    assert (found == truth).mean() > 0.6
    low, high = np.asarray(loaded.preprocess.bounds)[:, None, None, None]
    assert (np.asarray(inputs) >= low).all()
    assert (np.asarray(inputs) <= high).all()
    assert loaded.class_names[2] == "great white shark"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("googlenet.safetensors", "googlenet_caffe"),
        ("resnet8_cifar10.safetensors", "resnet8_cifar10"),
        ("mlp_gan_mnist.safetensors", "mlp_gan_mnist"),
        ("stories260K.bin", "stories260k"),
    ],
)
def test_real_files_fit_their_entries(real_data, file, name):
    loaded = ji.models.load(real_data / file, model=name)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.variables)} == {
        np.dtype("f4")
    }
