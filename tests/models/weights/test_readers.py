"""Every format gives the arrays that were put into it, by content and not by suffix."""

import json
import pickle
import struct
import sys
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxinterp.models.weights import WeightsError, read_tensors
from jaxinterp.models.weights.llama2c import read_header

GENERATOR = np.random.default_rng(0)
TENSORS = {
    "layer1.conv.weight": GENERATOR.normal(size=(4, 3, 2, 2)).astype(np.float32),
    "layer1.conv.bias": GENERATOR.normal(size=4).astype(np.float16),
    "steps": np.array([1, 2, 3]),
}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert isinstance(found[name], np.ndarray)
        assert found[name].dtype == tensor.dtype, name
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)


# --- safetensors ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "model.bin"])
def test_safetensors_are_known_by_content(tmp_path, name):
    save_file(TENSORS, tmp_path / name)
    assert_same(read_tensors(tmp_path / name), TENSORS)


def safetensors_by_hand(path, dtype, shape, data):
    header = {"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def test_safetensors_may_be_bfloat16(tmp_path):
    # bfloat16 is the upper half of float32: 1.0, -2.5 and 0.15625.
    data = struct.pack("<3H", 0x3F80, 0xC020, 0x3E20)
    safetensors_by_hand(tmp_path / "m.safetensors", "BF16", [3], data)
    found = read_tensors(tmp_path / "m.safetensors")["w"]
    assert found.dtype == np.dtype(jnp.bfloat16)
    assert found.astype(np.float32).tolist() == [1.0, -2.5, 0.15625]


def test_a_dtype_that_no_weights_have_is_an_error_that_names_it(tmp_path):
    safetensors_by_hand(tmp_path / "m.safetensors", "C64", [1], bytes(8))
    with pytest.raises(WeightsError, match="C64"):
        read_tensors(tmp_path / "m.safetensors")


def test_a_truncated_safetensors_file_is_an_error(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="safetensors, and is truncated or broken"):
        read_tensors(path)


def test_a_header_whose_length_reads_as_a_brace_is_no_index(tmp_path):
    data = np.arange(2, dtype=np.float32)
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"w": tensor}).encode().ljust(0x7B)
    content = struct.pack("<Q", len(header)) + header + data.tobytes()
    assert content.startswith(b"{")
    (tmp_path / "m.safetensors").write_bytes(content)
    assert_same(read_tensors(tmp_path / "m.safetensors"), {"w": data})


# --- npz and PyTorch, which are both zip files ----------------------------------------


@pytest.mark.parametrize("name", ["model.npz", "model.pth"])
def test_npz_is_known_by_content(tmp_path, name):
    with (tmp_path / name).open("wb") as file:
        np.savez(file, **TENSORS)
    assert_same(read_tensors(tmp_path / name), TENSORS)


def test_bfloat16_in_npz_is_read_though_numpy_forgets_its_name(tmp_path):
    tensors = {"w": np.array([[1.0, -2.5]], jnp.bfloat16), "b": np.zeros(2)}
    np.savez(tmp_path / "model.npz", **tensors)
    assert_same(read_tensors(tmp_path / "model.npz"), tensors)


def test_float8_in_npz_is_an_error_since_it_may_be_one_of_several(tmp_path):
    np.savez(tmp_path / "model.npz", w=np.ones(2, jnp.float8_e4m3fn))
    with pytest.raises(
        WeightsError, match=r"tensor 'w', .*`array\.astype\(np\.float32"
    ):
        read_tensors(tmp_path / "model.npz")


def test_a_truncated_zip_is_an_error(tmp_path):
    np.savez(tmp_path / "model.npz", **TENSORS)
    content = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "model.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"zip file .* truncated or broken"):
        read_tensors(tmp_path / "model.npz")


def test_whatever_is_damaged_in_a_zip_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "model.npz"
    np.savez_compressed(path, w=np.arange(400.0) % 7)
    content, errors = path.read_bytes(), []
    for position in range(0, len(content), 5):
        for value in (0x00, 0xFF, content[position] ^ 0x41):
            damaged = content[:position] + bytes([value]) + content[position + 1 :]
            path.write_bytes(damaged)
            try:
                read_tensors(path)
            except WeightsError as error:
                errors.append(error)
    assert all("model.npz" in str(error) for error in errors)
    found = {type(error.__cause__).__name__ for error in errors}
    assert {"BadZipFile", "error", "NotImplementedError"} <= found


def test_pickled_objects_in_npz_are_an_error(tmp_path):
    np.savez(tmp_path / "model.npz", odd=np.array([{}], object))
    with pytest.raises(WeightsError, match="npz, and is truncated or broken"):
        read_tensors(tmp_path / "model.npz")


def test_another_zip_file_is_an_error_that_says_what_is_in_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match=r"1 files \(readme\.txt\)"):
        read_tensors(tmp_path / "a.zip")


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="an optional dependency")


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("name", ["model.pt", "model.bin"])
def test_a_state_dict_is_known_by_content(tmp_path, torch, name, is_new):
    state = {name: torch.from_numpy(tensor) for name, tensor in TENSORS.items()}
    torch.save(state, tmp_path / name, _use_new_zipfile_serialization=is_new)
    assert_same(read_tensors(tmp_path / name), TENSORS)


def test_a_state_dict_inside_of_a_training_checkpoint_is_unwrapped(tmp_path, torch):
    state = {f"module.{name}": torch.from_numpy(t) for name, t in TENSORS.items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "model.pth")
    assert_same(read_tensors(tmp_path / "model.pth"), TENSORS)


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict"])
def test_a_model_beside_its_optimizer_is_unwrapped(tmp_path, torch, key):
    state = {name: torch.from_numpy(t) for name, t in TENSORS.items()}
    torch.save({key: state, "optimizer": {"state": {}}}, tmp_path / "model.pth")
    assert_same(read_tensors(tmp_path / "model.pth"), TENSORS)


def test_two_models_in_a_file_are_an_error_that_names_them(tmp_path, torch):
    state = {"w": torch.ones(2)}
    torch.save({"model": state, "state_dict": state}, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="holds 2 models, 'state_dict', 'model'"):
        read_tensors(tmp_path / "model.pth")


def test_a_tensor_may_be_called_model(tmp_path, torch):
    torch.save({"model": torch.ones(2)}, tmp_path / "model.pth")
    assert_same(read_tensors(tmp_path / "model.pth"), {"model": np.ones(2, "f4")})


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
def test_tensors_that_are_no_plain_arrays_are_named(tmp_path, torch):
    torch.save({"w": torch.eye(3).to_sparse()}, tmp_path / "model.pt")
    message = r"the tensor 'w' \(torch\.float32, .*`tensor\.to_dense\(\)`"
    with pytest.raises(WeightsError, match=message):
        read_tensors(tmp_path / "model.pt")


def test_tensors_whose_names_are_no_text_are_an_error(tmp_path, torch):
    torch.save({0: torch.ones(2), "w": torch.ones(2)}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="its tensors are called 0, which is no"):
        read_tensors(tmp_path / "model.pt")


def test_torch_float8_is_read(tmp_path, torch):
    tensor = torch.tensor([1.0, -2.5]).to(torch.float8_e4m3fn)
    torch.save({"w": tensor}, tmp_path / "model.pt")
    found = read_tensors(tmp_path / "model.pt")["w"]
    assert found.dtype == np.dtype(jnp.float8_e4m3fn)
    assert found.astype(float).tolist() == [1.0, -2.5]


def test_torch_bfloat16_and_transposed_tensors_are_read(tmp_path, torch):
    tensor = torch.arange(6.0).reshape(2, 3).T.to(torch.bfloat16)
    torch.save({"w": tensor}, tmp_path / "model.pt")
    found = read_tensors(tmp_path / "model.pt")["w"]
    assert found.dtype == np.dtype(jnp.bfloat16)
    assert found.astype(float).tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "seed": 4}, "is no state_dict: epoch, seed are no tensors"),
        ([1, 2], "holds a list, not a state_dict"),
    ],
)
def test_what_is_no_state_dict_is_an_error(tmp_path, torch, content, message):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=message):
        read_tensors(tmp_path / "model.pt")


def pickled(names, protocol):
    """Returns a pickle of an object of each class, though nobody can import it."""
    content = bytes([0x80, protocol]) + b"]"
    for name in names:
        module, _, class_name = name.encode().rpartition(b".")
        if protocol == 2:
            content += b"c" + module + b"\n" + class_name + b"\n"
        else:
            for text in (module, class_name):
                content += b"\x8c" + bytes([len(text)]) + text
            content += b"\x93"
        content += b")\x81a"
    return content + b"."


LINEAR = "torch.nn.modules.linear.Linear"


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    ("names", "shown"),
    [([LINEAR], LINEAR), (["my_package.Net", LINEAR], "my_package.Net")],
)
def test_a_pickled_module_is_called_what_it_is(
    tmp_path, names, shown, is_zip, protocol
):
    content, path = pickled(names, protocol), tmp_path / "model.pt"
    if is_zip:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/data.pkl", content)
    else:
        magic_number = 0x1950A86A20F9469CFC6C
        before = [pickle.dumps(part, 2) for part in (magic_number, 1001, {})]
        path.write_bytes(b"".join([*before, content]))
    with pytest.raises(WeightsError, match=rf"is a pickled module, a {shown}, and no"):
        read_tensors(path)


def test_a_scripted_module_is_called_what_it_is(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}, 2))
        archive.writestr("model/code/__torch__.py", "")
    with pytest.raises(WeightsError, match=r"a torch\.jit\.ScriptModule, and no"):
        read_tensors(tmp_path / "model.pt")


def test_a_module_that_torch_saved_is_called_what_it_is(tmp_path, torch):
    module = torch.nn.Sequential(torch.nn.Linear(2, 3))
    for is_new in (True, False):
        torch.save(
            {"epoch": 3, "model": module},
            tmp_path / "model.pt",
            _use_new_zipfile_serialization=is_new,
        )
        with pytest.raises(WeightsError, match=r"a torch\.nn\.modules\.container\.Se"):
            read_tensors(tmp_path / "model.pt")


class _Evil:
    def __reduce__(self):
        return print, ("this code must not run",)


def test_no_code_in_a_pickle_is_run(tmp_path, torch, capsys):
    torch.save({"w": _Evil()}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="PyTorch state_dict, and is truncated or"):
        read_tensors(tmp_path / "model.pt")
    assert not capsys.readouterr().out


# --- Keras ----------------------------------------------------------------------------


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="an optional dependency")


def test_nested_names_of_hdf5_are_joined_and_the_optimizer_is_left_out(tmp_path, h5py):
    kernel = TENSORS["layer1.conv.weight"]
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["model_weights/conv2d/conv2d/kernel:0"] = kernel
        file["optimizer_weights/adam/m:0"] = kernel
    found = read_tensors(tmp_path / "model.h5")
    assert_same(found, {"conv2d/conv2d/kernel": kernel})


@pytest.mark.parametrize("name", ["model.weights.h5", "model.keras", "model.h5"])
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # in Keras itself
def test_what_keras_saves_is_read(tmp_path, h5py, name):
    keras = pytest.importorskip("keras", reason="an optional dependency")
    model = keras.Sequential(
        [keras.layers.Input((3,)), keras.layers.Dense(2, name="head")]
    )
    save = model.save_weights if ".weights" in name else model.save
    save(tmp_path / name)
    found = read_tensors(tmp_path / name)
    kernel, bias = (np.asarray(weight) for weight in model.get_weights())
    assert len(found) == 2
    assert all("head" in key or key.startswith("layers/dense/") for key in found)
    by_shape = {tensor.shape: tensor for tensor in found.values()}
    np.testing.assert_array_equal(by_shape[3, 2], kernel)
    np.testing.assert_array_equal(by_shape[2,], bias)


def test_a_truncated_hdf5_file_is_an_error(tmp_path, h5py):
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["kernel"] = np.zeros((100, 100))
    content = (tmp_path / "model.h5").read_bytes()
    (tmp_path / "model.h5").write_bytes(content[:3000])
    with pytest.raises(WeightsError, match="HDF5, and is truncated or broken"):
        read_tensors(tmp_path / "model.h5")


@pytest.mark.slow(reason="damages a file byte by byte")
def test_whatever_is_damaged_in_hdf5_is_an_error_that_names_the_file(tmp_path, h5py):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file["dense/kernel"] = np.arange(6.0)
    content, errors = path.read_bytes(), []
    for position in range(8, len(content), 7):
        path.write_bytes(content[:position] + b"\xfe" + content[position + 1 :])
        try:
            read_tensors(path)
        except WeightsError as error:
            errors.append(error)
    assert all("model.h5" in str(error) for error in errors)
    found = {type(error.__cause__) for error in errors}
    assert len(found) > 1
    assert OSError in found


def test_text_in_hdf5_is_an_array_too(tmp_path, h5py):
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["note"] = "trained on Sunday"
        file["none"] = h5py.Empty("f4")
    found = read_tensors(tmp_path / "model.h5")
    assert {type(array) for array in found.values()} == {np.ndarray}
    assert found["note"].item() == b"trained on Sunday"


# --- Orbax ----------------------------------------------------------------------------


@pytest.fixture
def orbax():
    return pytest.importorskip("orbax.checkpoint", reason="an optional dependency")


TREE = {
    "params": {"conv": {"kernel": TENSORS["layer1.conv.weight"]}},
    "batch_stats": {"mean": np.arange(3, dtype=np.float32)},
}
TREE_BY_PATH = {
    "params/conv/kernel": TREE["params"]["conv"]["kernel"],
    "batch_stats/mean": TREE["batch_stats"]["mean"],
}


def test_nested_names_of_an_orbax_checkpoint_are_joined(tmp_path, orbax):
    with orbax.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "model", TREE)
    assert_same(read_tensors(tmp_path / "model"), TREE_BY_PATH)


def test_a_step_of_an_orbax_manager_is_a_checkpoint(tmp_path, orbax):
    with orbax.CheckpointManager(tmp_path) as manager:
        manager.save(7, args=orbax.args.StandardSave(TREE))
        manager.wait_until_finished()
    assert_same(read_tensors(tmp_path / "7"), TREE_BY_PATH)


def test_an_unfinished_orbax_checkpoint_is_an_error(tmp_path, orbax):
    with orbax.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "model", TREE)
    (tmp_path / "model" / "_METADATA").unlink()
    with pytest.raises(WeightsError, match=r"neither .*, nor the _METADATA of Orbax"):
        read_tensors(tmp_path / "model")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_a_damaged_orbax_checkpoint_is_an_error(tmp_path, orbax, content):
    with orbax.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "model", TREE)
    (tmp_path / "model" / "_METADATA").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model looks like Orbax, and is trunc"):
        read_tensors(tmp_path / "model")


# --- llama2.c -------------------------------------------------------------------------


def write_llama2c(path, *, is_tied):
    """Writes `wq` and its like in the order of llama2.c's `legacy_export`."""
    dim, hidden, layers, heads, kv_heads, vocabulary, length = 8, 12, 2, 4, 2, 11, 6
    header = (dim, hidden, layers, heads, kv_heads, vocabulary, length)
    kv = dim // heads * kv_heads
    counter = iter(range(10_000))

    def tensor(*shape):
        return np.float32([next(counter) for _ in range(np.prod(shape))]).reshape(shape)

    def stacked(name, *shape):
        return {f"layers.{i}.{name}": tensor(*shape) for i in range(layers)}

    tensors = {"tok_embeddings": tensor(vocabulary, dim)}
    tensors |= stacked("attention_norm", dim) | stacked("wq", dim, dim)
    tensors |= stacked("wk", kv, dim) | stacked("wv", kv, dim)
    tensors |= stacked("wo", dim, dim) | stacked("ffn_norm", dim)
    tensors |= stacked("w1", hidden, dim) | stacked("w2", dim, hidden)
    tensors |= stacked("w3", hidden, dim) | {"norm": tensor(dim)}
    tensors |= {f"freq_cis_{part}": tensor(length, 1) for part in ("real", "imag")}
    if not is_tied:
        tensors["output"] = tensor(vocabulary, dim)
        header = (*header[:5], -vocabulary, length)
    floats = b"".join(t.tobytes() for t in tensors.values())
    path.write_bytes(struct.pack("<7i", *header) + floats)
    return tensors


@pytest.mark.parametrize("is_tied", [True, False])
def test_llama2c_is_read_in_its_order(tmp_path, is_tied):
    tensors = write_llama2c(tmp_path / "model.bin", is_tied=is_tied)
    assert_same(read_tensors(tmp_path / "model.bin"), tensors)


@pytest.mark.parametrize("change", [-4, 4])
def test_a_llama2c_file_of_another_length_is_an_error(tmp_path, change):
    path = tmp_path / "model.bin"
    write_llama2c(path, is_tied=True)
    content = path.read_bytes() + bytes(8)
    path.write_bytes(content[: len(content) - 8 + change])
    with pytest.raises(WeightsError, match="that can be read, or a truncated one"):
        read_tensors(path)


def test_numbers_that_are_no_header_are_not_taken_for_one():
    assert read_header(struct.pack("<7i", 8, 12, 2, 4, 2, 11, 6)) is not None
    assert read_header(struct.pack("<7i", 8, 12, 2, 3, 3, 11, 6)) is None
    assert read_header(struct.pack("<7i", 8, 12, 0, 4, 2, 11, 6)) is None
    assert read_header(b"short") is None


def test_stories260k_has_the_shapes_of_its_header(real_data):
    tensors = read_tensors(real_data / "stories260K.bin")
    assert len(tensors) == 4 + 5 * 9
    assert tensors["tok_embeddings"].shape == (512, 64)
    assert tensors["layers.4.wk"].shape == (32, 64)
    # Rotary tables are cosines and sines: squares add up to one.
    circle = tensors["freq_cis_real"] ** 2 + tensors["freq_cis_imag"] ** 2
    np.testing.assert_allclose(circle, 1, atol=1e-6)


# --- What can be read by nobody -------------------------------------------------------


def test_nothing_at_the_path_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file and no folder at"):
        read_tensors(tmp_path / "model.npz")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>" * 20, bytes(64)])
def test_an_unknown_file_is_an_error_that_lists_what_is_known(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"is no checkpoint .* Known are safetens"):
        read_tensors(tmp_path / "model.safetensors")


def test_a_folder_that_is_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match=r"one \.safetensors file \(found 0\)"):
        read_tensors(tmp_path)


@pytest.mark.parametrize(
    ("package", "content"),
    [
        ("h5py", b"\x89HDF\r\n\x1a\n"),
        ("torch", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."),
    ],
)
def test_a_reader_that_is_not_installed_is_named(
    tmp_path, monkeypatch, package, content
):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ImportError, match=f"`pip install {package}`"):
        read_tensors(tmp_path / "model")
