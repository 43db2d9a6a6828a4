"""MNIST: real files when MOMENTUMRNN_DATA has them, small stand-ins for every way in which files can be wrong."""

import gzip
import hashlib
import os
import shutil
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from momentum_cli.data import MNIST, Dataset, PermutedMNIST
from momentum_cli.data import mnist as mnist_module
from momentum_cli.data.mnist import FILES, IdxFile
from momentum_cli.errors import DataError

DATA = Path(os.environ.get("MOMENTUMRNN_DATA", "/nonexistent"))
real = pytest.mark.skipif(
    not (DATA / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file(),
    reason="needs MOMENTUMRNN_DATA with MNIST/raw",
)
SHAPES = {
    "train-images-idx3-ubyte": (60, 28, 28),
    "train-labels-idx1-ubyte": (60,),
    "t10k-images-idx3-ubyte": (20, 28, 28),
    "t10k-labels-idx1-ubyte": (20,),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Content of four small IDX files, which take the place of the originals."""
    generator = np.random.default_rng(0)
    contents = {}
    for name, shape in SHAPES.items():
        body = generator.integers(0, 256, shape) if len(shape) == 3 else np.arange(shape[0]) % 10
        header = bytes([0, 0, 8, len(shape)]) + b"".join(struct.pack(">I", axis) for axis in shape)
        contents[name] = header + body.astype(np.uint8).tobytes()
        expected = IdxFile(shape, hashlib.md5(contents[name], usedforsecurity=False).hexdigest())
        monkeypatch.setitem(FILES, name, expected)
    return contents


@pytest.fixture
def folder(small: dict[str, bytes], tmp_path: Path) -> Path:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in small.items():
        (raw / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def mirror(small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A mirror of the small files on this machine; yields the names asked for, in order."""
    import torchvision

    archives = {f"/{name}.gz": gzip.compress(content, mtime=0) for name, content in small.items()}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.strip("/"))
            content = archives[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None: ...

    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_address[1]}/"])
        md5s = [
            (path.strip("/"), hashlib.md5(content, usedforsecurity=False).hexdigest())
            for path, content in archives.items()
        ]
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", md5s)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:1/"])


def images_of(contents: dict[str, bytes], name: str) -> np.ndarray:
    return np.frombuffer(contents[name], np.uint8, offset=16).reshape(-1, 28, 28)


def test_files_that_are_there_are_read_without_writing(folder: Path, small: dict[str, bytes]) -> None:
    raw = folder / "MNIST" / "raw"
    raw.chmod(0o555)  # root writes all the same, so the time of the last change is looked at too
    before = raw.stat().st_mtime_ns, sorted(path.name for path in raw.iterdir())
    dataset = MNIST(validation="none").load(folder)
    assert (raw.stat().st_mtime_ns, sorted(path.name for path in raw.iterdir())) == before
    raw.chmod(0o755)
    assert dataset.validation is None
    np.testing.assert_array_equal(
        dataset.train.inputs.numpy().reshape(-1, 28, 28), images_of(small, "train-images-idx3-ubyte")
    )
    np.testing.assert_array_equal(
        dataset.test.inputs.numpy().reshape(-1, 28, 28), images_of(small, "t10k-images-idx3-ubyte")
    )
    assert dataset.test.targets.tolist() == [i % 10 for i in range(20)]


def test_gzip_files_do_as_well_and_stay_as_they_are(folder: Path, small: dict[str, bytes]) -> None:
    plain = MNIST(validation=10).load(folder)
    raw = folder / "MNIST" / "raw"
    for name, content in small.items():
        (raw / name).unlink()
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
    zipped = MNIST(validation=10).load(folder)
    assert torch.equal(plain.train.inputs, zipped.train.inputs)
    assert sorted(path.name for path in raw.iterdir()) == sorted(f"{name}.gz" for name in small)


def test_the_environment_names_the_folder_when_none_is_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUMRNN_DATA", str(folder))
    assert len(MNIST(validation=10).load().train) == 50


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "cut short.* 0 bytes instead of"),
        (lambda content: content[:5], "cut short.* 5 bytes instead of"),
        (lambda content: content[:-1], "cut short"),
        (lambda content: content[: len(content) // 2], "cut short"),
        (lambda content: content[: len(content) // 2].ljust(len(content), b"\0"), "damaged: its MD5"),
        (lambda content: content + b"\0", "too long"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "damaged: its MD5"),
        (lambda content: b"<html>not found</html>".ljust(len(content)), "not the original IDX file"),
        (lambda content: content[:4] + b"\0\0\0\7" + content[8:], "not the original IDX file"),
    ],
    ids=["empty", "in-header", "one-byte-short", "half", "half-then-zeros", "too-long", "bit", "html", "other-shape"],
)
def test_a_wrong_file_is_named_and_left_alone(
    folder: Path, name: str, damage, reason: str, small: dict[str, bytes]
) -> None:
    path = folder / "MNIST" / "raw" / name
    path.write_bytes(damage(small[name]))
    with pytest.raises(DataError, match=reason) as caught:
        MNIST(validation=10).load(folder)
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)
    assert "Delete" in str(caught.value)
    assert path.read_bytes() == damage(small[name])


def test_a_broken_gzip_file_is_named(folder: Path, small: dict[str, bytes]) -> None:
    path = folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(small[path.name])[:-20])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: cannot be read: cut short"):
        MNIST(validation=10).load(folder)


def test_without_files_and_network_the_message_says_what_to_put_where(tmp_path: Path, no_network: None) -> None:
    with pytest.raises(DataError) as caught:
        MNIST().load(tmp_path)
    message = str(caught.value)
    assert caught.value.exit_code == 3
    for name in SHAPES:
        assert name in message
    assert f"into {tmp_path / 'MNIST' / 'raw'}" in message
    assert "--data-dir" in message
    assert "http://127.0.0.1:1/train-images-idx3-ubyte.gz" in message


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, no_network: None) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="MNIST is not in"):
        MNIST().load(tmp_path / "file")


def test_what_is_absent_is_downloaded_and_what_is_there_is_not(
    folder: Path, mirror: list[str], small: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    raw = folder / "MNIST" / "raw"
    (raw / "t10k-images-idx3-ubyte").unlink()
    (raw / "train-labels-idx1-ubyte").unlink()
    seen: set[str] = set()

    class Progress:
        def download(self, name: str, done: int, total: int | None) -> None:
            seen.add(name)

    MNIST(validation=10).load(folder, Progress())
    assert mirror == ["train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"]
    assert seen == {"train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"}
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == small
    assert capfd.readouterr() == ("", "")
    MNIST(validation=10).load(folder, Progress())
    assert len(mirror) == 2


def test_torchvision_reads_what_was_downloaded(tmp_path: Path, mirror: list[str]) -> None:
    import torchvision

    dataset = MNIST(validation="none").load(tmp_path)
    theirs = torchvision.datasets.MNIST(str(tmp_path), train=True, download=False)
    assert torch.equal(dataset.train.inputs.reshape(-1, 28, 28), theirs.data)
    assert torch.equal(dataset.train.targets, theirs.targets)


@pytest.mark.parametrize("locks", [True, False])
def test_many_at_once_do_not_disturb_each_other(
    tmp_path: Path, mirror: list[str], small: dict[str, bytes], locks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="this system has no such lock")
    if not locks:

        def refuse(*args: object) -> None:
            raise OSError("no locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
    results: list[Dataset] = []
    start = threading.Barrier(4)

    def load() -> None:
        start.wait()
        results.append(MNIST(validation=10).load(tmp_path))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(torch.equal(result.train.inputs, results[0].train.inputs) for result in results)
    assert {path.name: path.read_bytes() for path in (tmp_path / "MNIST" / "raw").iterdir()} == small
    if locks:
        assert len(mirror) == 4


def fisher_yates(seed: int, n: int) -> list[int]:
    """torch.randperm on the CPU, written down again: MT19937, then z = draw mod (n - i), swap i and i + z."""
    draws = np.random.RandomState(seed).randint(0, 2**32, size=n - 1, dtype=np.uint32).tolist()
    order = list(range(n))
    for i, draw in enumerate(draws):
        j = i + draw % (n - i)
        order[i], order[j] = order[j], order[i]
    return order


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_the_permutation_is_that_of_its_seed_whatever_the_training_seed(
    seed: int, folder: Path, small: dict[str, bytes]
) -> None:
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    dataset = PermutedMNIST(permutation_seed=seed, validation="none", split_seed=9).load(folder)
    assert torch.equal(before, torch.random.get_rng_state())
    order = dataset.preprocessing["permutation"]
    assert order == fisher_yates(seed, 784)
    flat = images_of(small, "train-images-idx3-ubyte").reshape(60, 784)
    np.testing.assert_array_equal(dataset.train.inputs.numpy()[:, :, 0], flat[:, order])


@pytest.mark.parametrize("pixels_per_step", [1, 28, 56, 784])
def test_a_consumer_gets_the_model_input_from_the_preprocessing_alone(
    pixels_per_step: int, folder: Path, small: dict[str, bytes]
) -> None:
    dataset = PermutedMNIST(pixels_per_step=pixels_per_step, validation="none").load(folder)
    recipe = dataset.preprocessing
    assert (recipe["height"], recipe["width"], recipe["raw_max"]) == (28, 28, 255)
    flat = images_of(small, "t10k-images-idx3-ubyte").reshape(20, recipe["height"] * recipe["width"])
    steps = flat[:, recipe["permutation"]].reshape(20, -1, recipe["pixels_per_step"]) * recipe["scale"]
    batch = dataset.test.batch(torch.arange(20))
    assert batch.inputs.shape == (20, 784 // pixels_per_step, pixels_per_step)
    np.testing.assert_allclose(batch.inputs.numpy(), steps, rtol=1e-6)
    assert float(batch.inputs.min()) >= 0.0
    assert float(batch.inputs.max()) == 1.0


def test_scan_order_is_row_by_row(folder: Path, small: dict[str, bytes]) -> None:
    dataset = MNIST(pixels_per_step=28, validation="none").load(folder)
    np.testing.assert_array_equal(dataset.test.inputs.numpy(), images_of(small, "t10k-images-idx3-ubyte"))
    assert dataset.preprocessing["permutation"] is None


def test_validation_is_held_out_by_class_and_split_seed(folder: Path) -> None:
    one, two = (MNIST(validation=20, split_seed=seed).load(folder) for seed in (0, 1))
    whole = MNIST(validation="none").load(folder)
    for dataset in (one, two):
        assert dataset.validation is not None
        assert torch.bincount(dataset.validation.targets).tolist() == [2] * 10
        everyone = torch.cat((dataset.train.inputs, dataset.validation.inputs)).flatten(1).tolist()
        assert sorted(everyone) == sorted(whole.train.inputs.flatten(1).tolist())
        assert torch.equal(dataset.test.inputs, whole.test.inputs)
    assert one.validation is not None
    assert two.validation is not None
    assert not torch.equal(one.validation.inputs, two.validation.inputs)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (MNIST, {"pixels_per_step": 3}, r"must be a divisor of 784 \(1, 2, 4, 7, 8, 14, 16, 28, .*, 784\), got 3"),
        (MNIST, {"validation": 60_000}, r"a number in \[1, 59999\], got 60000"),
        (MNIST, {"validation": "None"}, "got 'None'"),
        (MNIST, {"split_seed": 2**32}, "split_seed must be in"),
        (PermutedMNIST, {"pixels_per_step": -28}, "got -28"),
        (PermutedMNIST, {"permutation_seed": -1}, "permutation_seed must be in .* got -1"),
    ],
)
def test_options_out_of_range_are_refused(task: type, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task(**options)


@real
def test_the_real_files_are_the_originals_and_equal_what_torchvision_reads() -> None:
    import torchvision

    dataset = MNIST(validation="none").load(DATA)
    for split, train in ((dataset.train, True), (dataset.test, False)):
        theirs = torchvision.datasets.MNIST(str(DATA), train=train, download=False)
        assert torch.equal(split.inputs.reshape(-1, 28, 28), theirs.data)
        assert torch.equal(split.targets, theirs.targets)


@real
def test_real_validation_keeps_the_shares_of_the_classes() -> None:
    dataset = PermutedMNIST().load(DATA)
    assert dataset.validation is not None
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (55_000, 5_000, 10_000)
    held = torch.bincount(dataset.validation.targets).double()
    everyone = held + torch.bincount(dataset.train.targets)
    assert float((held - everyone / 12).abs().max()) < 1


@real
def test_one_changed_pixel_among_47_million_is_found(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(DATA / "MNIST" / "raw", raw)
    path = raw / "train-images-idx3-ubyte"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(23_456_789)
        byte = file.read(1)[0]
        file.seek(23_456_789)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: damaged"):
        MNIST().load(tmp_path)
    assert mnist_module.FILES["train-images-idx3-ubyte"].size == 47_040_016
