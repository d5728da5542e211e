"""A checkpoint of several files is all of them, and nothing twice."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxinterp.models.weights import WeightsError, read_tensors
from tests.models.weights.test_readers import TENSORS, assert_same


def write_shards(folder, weight_map):
    for shard in set(weight_map.values()):
        own = {name: TENSORS[name] for name in TENSORS if weight_map[name] == shard}
        save_file(own, folder / shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


WEIGHT_MAP = dict(zip(TENSORS, ["1.safetensors", "2.safetensors"] * 2, strict=False))


def test_shards_are_found_by_their_index_or_folder(tmp_path):
    index = write_shards(tmp_path, WEIGHT_MAP)
    assert_same(read_tensors(index), TENSORS)
    assert_same(read_tensors(tmp_path), TENSORS)


def test_a_missing_shard_is_named(tmp_path):
    index = write_shards(tmp_path, WEIGHT_MAP)
    (tmp_path / "2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"names the shard 2\.safetensors"):
        read_tensors(index)


def test_an_index_that_promises_more_than_the_shards_have_is_an_error(tmp_path):
    index = write_shards(tmp_path, WEIGHT_MAP)
    promise = {"weight_map": {**WEIGHT_MAP, "head": "1.safetensors"}}
    index.write_text(json.dumps(promise))
    with pytest.raises(
        WeightsError, match=r"disagree about 1 tensors: head is not in 1\.safe"
    ):
        read_tensors(index)


@pytest.mark.parametrize("is_folder", [True, False])
def test_shards_are_known_by_content_too(tmp_path, is_folder):
    weight_map = {name: f"pytorch_model-{i}.bin" for i, name in enumerate(TENSORS)}
    for name, shard in weight_map.items():
        with (tmp_path / shard).open("wb") as file:
            np.savez(file, **{name: TENSORS[name]})
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert_same(read_tensors(tmp_path if is_folder else index), TENSORS)


def test_an_index_is_no_shard_of_itself(tmp_path):
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"weight_map": {"w": path.name}}))
    with pytest.raises(WeightsError, match="is no checkpoint that can be read"):
        read_tensors(path)


def test_json_that_is_no_index_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(
        WeightsError, match="is JSON and no index of a sharded checkpoint"
    ):
        read_tensors(tmp_path / "config.json")


@pytest.mark.parametrize(
    "text",
    [
        '{"weight_map": null}',
        '{"weight_map": {}}',
        '{"weight_map": ["w"]}',
        '{"weight_map": {"w": 3}}',
        '{"a": 1}',
    ],
)
def test_json_without_a_weight_map_says_what_it_has_instead(tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(WeightsError, match=r"index\.json is JSON and no index .* is "):
        read_tensors(tmp_path / "index.json")


def test_json_that_is_cut_off_is_an_error(tmp_path):
    (tmp_path / "index.json").write_text('{"weight_map": {"w": "1.safe')
    with pytest.raises(WeightsError, match="index of a sharded checkpoint, and is tru"):
        read_tensors(tmp_path / "index.json")


def test_an_index_may_begin_with_a_byte_order_mark(tmp_path):
    index = write_shards(tmp_path, WEIGHT_MAP)
    index.write_text(index.read_text(), "utf-8-sig")
    assert index.read_bytes().startswith(b"\xef\xbb\xbf{")
    assert_same(read_tensors(index), TENSORS)


def test_a_tensor_in_two_shards_is_an_error(tmp_path):
    index = write_shards(tmp_path, WEIGHT_MAP)
    save_file(TENSORS, tmp_path / "1.safetensors")
    message = r"layer1\.conv\.bias is in 1\.safetensors and belongs into 2\.safetensors"
    with pytest.raises(WeightsError, match=message):
        read_tensors(index)


def test_shards_that_have_changed_places_are_an_error(tmp_path):
    index = write_shards(tmp_path, WEIGHT_MAP)
    (tmp_path / "1.safetensors").rename(tmp_path / "old")
    (tmp_path / "2.safetensors").rename(tmp_path / "1.safetensors")
    (tmp_path / "old").rename(tmp_path / "2.safetensors")
    with pytest.raises(WeightsError, match=r"steps is not in 1\.safetensors"):
        read_tensors(index)


def test_the_prefix_of_dataparallel_goes_off_in_every_format(tmp_path):
    prefixed = {f"module.{name}": tensor for name, tensor in TENSORS.items()}
    save_file(prefixed, tmp_path / "m.safetensors")
    assert_same(read_tensors(tmp_path / "m.safetensors"), TENSORS)
    np.savez(tmp_path / "m.npz", **prefixed)
    assert_same(read_tensors(tmp_path / "m.npz"), TENSORS)


def test_a_prefix_is_that_of_all_shards_or_of_none(tmp_path):
    tensors = {"module.a": np.ones(2), "module.b": np.ones(3), "c": np.ones(4)}
    weight_map = {"module.a": "1", "module.b": "1", "c": "2"}
    save_file({n: tensors[n] for n in list(tensors)[:2]}, tmp_path / "1")
    save_file({"c": tensors["c"]}, tmp_path / "2")
    (tmp_path / "index").write_text(json.dumps({"weight_map": weight_map}))
    assert_same(read_tensors(tmp_path / "index"), tensors)


def test_a_folder_may_have_one_file_of_pytorch(tmp_path):
    with (tmp_path / "pytorch_model.bin").open("wb") as file:
        np.savez(file, **TENSORS)
    (tmp_path / "config.json").write_text("{}")
    assert_same(read_tensors(tmp_path), TENSORS)


def test_a_folder_with_one_safetensors_file_is_that_file(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert_same(read_tensors(tmp_path), TENSORS)


def test_shards_of_a_state_dict_are_found_by_their_folder(tmp_path):
    torch = pytest.importorskip("torch", reason="an optional dependency")
    weight_map = {name: f"pytorch_model-{i}.bin" for i, name in enumerate(TENSORS)}
    for name, shard in weight_map.items():
        torch.save({name: torch.from_numpy(TENSORS[name])}, tmp_path / shard)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert_same(read_tensors(tmp_path), TENSORS)
