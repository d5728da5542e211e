"""The hub is asked only on request, its files are verified, and errors say what to do.

The hub here is a folder: `hf_hub_download` is replaced by a function which does with it
what the real one does with the network, down to the layout of its cache. One test asks
the real package, without a network.
"""

import hashlib
import sys
import types

import pytest

from jaxinterp.models.weights import WeightsError
from jaxinterp.models.weights.hub import HubFile, check_sha256, fetch, verify

FILE = HubFile("owner/model", "model.safetensors")
CONTENT = b"some weights"
SUM = hashlib.sha256(CONTENT).hexdigest()


class FakeHub:
    """A hub that is one folder, and a cache of blobs named by checksum, with links."""

    def __init__(self, cache):
        self.cache = cache
        self.files = {FILE: CONTENT}
        self.is_reachable = True
        self.downloads = 0

    def hf_hub_download(self, repo_id, filename, *, revision, local_files_only):
        link = self.cache / "snapshots" / revision / filename
        if link.exists():
            return str(link)
        if local_files_only or not self.is_reachable:
            raise FileNotFoundError("an error happened while trying to reach the hub")
        content = self.files[HubFile(repo_id, filename, revision)]
        self.downloads += 1
        blob = self.cache / "blobs" / hashlib.sha256(content).hexdigest()
        for folder in (blob.parent, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(blob)
        return str(link)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    fake = FakeHub(tmp_path)
    module = types.ModuleType("huggingface_hub")
    module.__dict__["hf_hub_download"] = fake.hf_hub_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return fake


def test_nothing_is_downloaded_unless_asked(hub):
    with pytest.raises(FileNotFoundError, match=r"`load\(\.\.\., download=True\)`"):
        fetch(FILE, download=False)
    assert hub.downloads == 0


def test_a_file_is_downloaded_once_and_then_read_from_the_cache(hub):
    assert fetch(FILE, download=True).read_bytes() == CONTENT
    hub.is_reachable = False
    assert fetch(FILE, download=True).read_bytes() == CONTENT
    assert fetch(FILE, download=False).read_bytes() == CONTENT
    assert hub.downloads == 1


def test_a_revision_is_a_file_of_its_own(hub):
    tagged = FILE._replace(revision="v1.0")
    hub.files[tagged] = b"older weights"
    fetch(FILE, download=True)
    with pytest.raises(FileNotFoundError, match=r"\(revision v1\.0\) is not in the"):
        fetch(tagged, download=False)
    assert fetch(tagged, download=True).read_bytes() == b"older weights"


def test_a_hub_that_cannot_be_reached_is_an_error_that_says_so(hub):
    hub.is_reachable = False
    with pytest.raises(ConnectionError, match="trying to reach the hub") as caught:
        fetch(FILE, download=True)
    assert "model.safetensors of https://huggingface.co/owner/model" in str(
        caught.value
    )
    assert "`load(path, model=...)`" in str(caught.value)


def test_the_given_checksum_is_checked(hub):
    assert fetch(FILE, download=True, sha256=SUM).read_bytes() == CONTENT
    with pytest.raises(WeightsError) as caught:
        fetch(FILE, download=True, sha256="0" * 64)
    assert f"expected SHA-256 {'0' * 64}" in str(caught.value)
    assert f"found    SHA-256 {SUM}" in str(caught.value)


def test_a_file_that_was_damaged_in_the_cache_is_found_without_a_given_checksum(hub):
    path = fetch(FILE, download=True)
    path.resolve().write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=f"expected SHA-256 {SUM}"):
        fetch(FILE, download=False)


def test_a_cache_without_links_is_read_as_it_is(hub):
    link = hub.cache / "snapshots" / "main" / FILE.filename
    link.parent.mkdir(parents=True)
    link.write_bytes(CONTENT)
    assert fetch(FILE, download=False) == link


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"`pip install 'jaxinterp\[hub\]'`"):
        fetch(FILE, download=True)


def test_the_real_package_without_a_network_gives_the_same_errors(
    tmp_path, monkeypatch
):
    constants = pytest.importorskip("huggingface_hub.constants", reason="an extra")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="is not in the cache of the hub"):
        fetch(FILE, download=False)
    with pytest.raises(ConnectionError, match="cannot be downloaded"):
        fetch(FILE, download=True)


def test_the_real_package_reads_its_own_cache(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="an extra")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 40
    repository = tmp_path / "models--owner--model"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs" / SUM).write_bytes(CONTENT)
    link = repository / "snapshots" / commit / FILE.filename
    link.symlink_to(repository / "blobs" / SUM)
    assert fetch(FILE, download=False).read_bytes() == CONTENT
    (repository / "blobs" / SUM).write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=f"expected SHA-256 {SUM}"):
        fetch(FILE, download=False)


def test_a_checksum_may_be_written_in_capitals(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    assert verify(tmp_path / "file", SUM.upper()) is None
    wrong = SUM.upper().translate(str.maketrans("0123456789", "1234567890"))
    with pytest.raises(WeightsError, match=f"expected SHA-256 {wrong.lower()}"):
        verify(tmp_path / "file", wrong)


def test_what_is_no_checksum_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    with pytest.raises(
        ValueError, match="64 hexadecimal digits, and `sha256` is 'abc'"
    ):
        verify(tmp_path / "file", "abc")


@pytest.mark.parametrize("wrong", [b"", SUM.encode(), "", 3])
def test_what_is_no_text_is_no_checksum(wrong):
    with pytest.raises(ValueError, match=f"`sha256` is {wrong!r}. Write `hashlib"):
        check_sha256(wrong)


def test_a_folder_has_no_checksum(tmp_path):
    with pytest.raises(IsADirectoryError):
        verify(tmp_path, SUM)
