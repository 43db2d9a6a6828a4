"""The tasks `speech` and `speech-classify` on folders of WAV: names, divisions, batches, padding, kept frames."""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from speech_files import pcm16, speech_like, write_wav

from momentum_cli.data import Dataset, Speech, SpeechClassify
from momentum_cli.data.files.steps import Steps
from momentum_cli.data.kept import keep as keep_folder
from momentum_cli.data.problems import Problems
from momentum_cli.data.speech import cache as kept
from momentum_cli.data.speech.features import Features
from momentum_cli.data.speech.listing import list_folder
from momentum_cli.errors import DataError
from momentum_cli.inspection.data import check_data, describe_data
from momentum_cli.models.sequence import SequenceModel
from momentum_cli.progress import NoProgress
from momentum_cli.recipe.building import build_model
from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe
from momentum_cli.training.objective import Objective

PATTERN = "{label}_{speaker}_{index}"
SPEAKERS = ("ann", "bob", "cy", "di")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "momentumrnn" / "speech"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three words of four speakers, four times each, of several lengths."""
    folder = tmp_path_factory.mktemp("recordings")
    for number, (label, speaker, index) in enumerate((w, s, i) for w in "210" for s in SPEAKERS for i in range(4)):
        sound = speech_like(0.15 + 0.02 * (number % 5), 8000, number)
        write_wav(folder / f"{label}_{speaker}_{index}.wav", pcm16(sound), 8000)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "recordings"))


def frames_of(path: Path, features: Features) -> np.ndarray:
    import soundfile

    return features(soundfile.read(path)[0], 8000)


def parts(dataset: Dataset) -> dict[str, Any]:
    return {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}


# Names and divisions.


def test_what_names_say(tmp_path: Path) -> None:
    names = ["up/ann/01.wav", "up/bob.x/2.flac", "down/deep/er/ann/003.WAV"]
    for name in names:
        write_wav(tmp_path / name.replace("WAV", "wav"), np.zeros(4, np.int16), 8000)
    (tmp_path / "down/deep/er/ann/003.wav").rename(tmp_path / names[2])
    (tmp_path / "README.md").write_text("no recording")

    def listed(pattern: str) -> list[tuple[Any, ...]]:
        found = list_folder(tmp_path, pattern, Problems())
        return [(r.name, r.label, r.speaker, r.index, r.split) for r in found]

    assert listed("{label}/*/{speaker}/{index}") == [(names[2], "down", "ann", 3, None)]
    assert listed("*/{speaker}/{index}")[0] == (names[2], None, "ann", 3, None)
    assert listed("{label}/{speaker}/{index}") == [
        (names[0], "up", "ann", 1, None),
        (names[1], "up", "bob.x", 2, None),
    ]
    assert [entry[0] for entry in listed("*")] == sorted(names)
    problems = Problems()
    list_folder(tmp_path, "{label}/{speaker}/{index}", problems)
    assert [str(p) for p in problems.all] == [
        f"{names[2]}: the name does not fit the pattern {{label}}/{{speaker}}/{{index}}"
    ]
    problems = Problems()
    assert not list_folder(tmp_path, "up/ann/{speaker}_{index}", problems)
    assert len(problems.all) == 3
    # A field ends where a folder does.
    problems = Problems()
    assert not list_folder(tmp_path, "{label}/{speaker}", problems)
    assert len(problems.all) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no \.wav, \.flac, \.sph files"):
        list_folder(tmp_path / "empty", "*", Problems())


def names_in(task: Speech | SpeechClassify, folder: Path) -> dict[str, list[str]]:
    corpus = task.corpus(folder, Problems())
    return {split: [corpus.recordings[place].path.stem for place in part] for split, part in corpus.parts.items()}


def test_by_index(folder: Path) -> None:
    task = SpeechClassify(str(folder), PATTERN, split="index", test_indices=1, validation_fraction=0.25)
    found = names_in(task, folder)
    assert sorted(found["test"]) == sorted(f"{label}_{speaker}_0" for label in "012" for speaker in SPEAKERS)
    assert (len(found["train"]), len(found["validation"])) == (27, 9)
    # The classes keep their shares, and nothing is in two splits.
    assert set(Counter(name[0] for name in found["validation"]).values()) == {3}
    assert len({name for names in found.values() for name in names}) == 48
    assert found == names_in(task, folder)
    other = SpeechClassify(str(folder), PATTERN, split="index", test_indices=1, validation_fraction=0.25, split_seed=1)
    assert names_in(other, folder)["test"] == found["test"]
    assert names_in(other, folder)["validation"] != found["validation"]


def test_by_speaker_no_speaker_is_in_two_splits(folder: Path) -> None:
    found = names_in(Speech(str(folder), pattern=PATTERN, split="speaker"), folder)
    speakers = {split: {name.split("_")[1] for name in names} for split, names in found.items()}
    assert [len(speakers[split]) for split in ("train", "validation", "test")] == [2, 1, 1]
    assert set.union(*speakers.values()) == set(SPEAKERS)
    assert {split: len(names) for split, names in found.items()} == {"train": 24, "validation": 12, "test": 12}


def test_by_folder_and_by_fraction(folder: Path) -> None:
    for file in sorted(folder.glob("*.wav")):
        split = {"0": "train", "1": "test"}.get(file.stem[-1], "validation")
        (folder / split).mkdir(exist_ok=True)
        file.rename(folder / split / file.name)
    found = names_in(Speech(str(folder), pattern="{split}/*"), folder)
    assert {split: {name[-1] for name in names} for split, names in found.items()} == {
        "train": {"0"},
        "test": {"1"},
        "validation": {"2", "3"},
    }
    drawn = names_in(SpeechClassify(str(folder), "*/" + PATTERN, test_fraction=0.25, validation_fraction=0), folder)
    assert {split: len(names) for split, names in drawn.items()} == {"train": 36, "validation": 0, "test": 12}
    assert set(Counter(name[0] for name in drawn["test"]).values()) == {4}
    (folder / "validation").rename(folder / "holdout")
    problems = Problems()
    Speech(str(folder), pattern="{split}/*").corpus(folder, problems)
    assert str(problems.all[0]).endswith("the split 'holdout' is not one of train, validation, test")


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (Speech, {"path": ""}, "`path` must name a folder of recordings, got ''"),
        (Speech, {"pattern": "{lable}/*"}, r"`pattern` must have fields out of \{label\}.*got \{lable\}"),
        (Speech, {"pattern": "{speaker}/{speaker}"}, "`pattern` must have the field {speaker} once"),
        (Speech, {"pattern": "{speaker"}, "`pattern` must be a path such as"),
        (
            Speech,
            {"split": "speaker"},
            r"`split` must be used with a pattern that has \{speaker\}, got 'speaker'; the pattern is '\*'",
        ),
        (Speech, {"split": "folder"}, r"must be used with a pattern that has \{split\}"),
        (Speech, {"split": "fraction", "pattern": "{split}/*"}, "must be 'folder' or left out"),
        (Speech, {"test_indices": 0}, "`test_indices` must be >= 1, got 0"),
        (Speech, {"validation_fraction": 1.0}, r"`validation_fraction` must be in \[0, 1\), got 1.0"),
        (Speech, {"test_fraction": 0.0}, r"`test_fraction` must be in \(0, 1\), got 0.0"),
        (
            Speech,
            {"validation_fraction": 0.6, "test_fraction": 0.4},
            "must be less than 1 - validation_fraction = 0.4",
        ),
        (Speech, {"split_seed": -1}, "split_seed must be in"),
        (Speech, {"num_workers": 0}, "`num_workers` must be >= 1, got 0"),
        (Speech, {"n_fft": 3}, "`n_fft` must be an even number >= 2, got 3"),
        (SpeechClassify, {"pattern": "*"}, r"`pattern` must contain \{label\}, got '\*'"),
        (SpeechClassify, {"n_mels": 0}, "`n_mels` must be >= 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(task: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task(**{"path": "x", **options})


# What a batch is.


def test_each_step_is_given_a_frame_and_asked_for_the_next_one(folder: Path) -> None:
    options: dict[str, Any] = {"pattern": PATTERN, "split": "index", "test_indices": 1}
    plain = Speech(str(folder), normalise="none", **options).load()
    back = Speech(str(folder), normalise="none", predict="previous", **options).load()
    names = names_in(Speech(str(folder), **options), folder)
    for split, data in parts(plain).items():
        batch, backwards = (d.batch(torch.arange(len(d))) for d in (data, parts(back)[split]))
        assert batch.inputs.dtype == batch.targets.dtype == torch.float32
        for row, name in enumerate(names[split]):
            frames = frames_of(folder / f"{name}.wav", Features())
            length = len(frames) - 1
            assert int(batch.lengths[row]) == int(data.lengths[row]) == length
            assert int(data.scored[row]) == length * 129
            for one, begin in ((batch.inputs, 0), (batch.targets, 1), (backwards.inputs, 1), (backwards.targets, 0)):
                np.testing.assert_array_equal(one[row, :length], frames[begin : begin + length])
            assert (batch.inputs[row, length:] == 0).all()
            assert batch.targets[row, length:].isnan().all()
    assert plain.target_scale is None
    assert plain.preprocessing["predict"] == "next"


def test_the_normalisation_is_that_of_the_training_frames(folder: Path) -> None:
    task = Speech(str(folder), pattern=PATTERN, split="index", test_indices=1)
    names, dataset = names_in(task, folder), task.load()
    frames = [frames_of(folder / f"{name}.wav", Features()) for name in names["train"]]
    together = np.concatenate(frames).astype(np.float64)
    scaling = dataset.preprocessing["scaling"]
    np.testing.assert_allclose(scaling["offset"], together.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scaling["scale"], together.std(0), rtol=1e-5)
    batch = dataset.train.batch(torch.tensor([0]))
    expected = (frames[0][:-1] - together.mean(0)) / together.std(0)
    np.testing.assert_allclose(batch.inputs[0], expected, atol=1e-4)
    # The metric is in dB² whatever the loss is in: predicting the mean of each bin has the variance in dB².
    objective = Objective.of(dataset)
    found = objective.results(objective.totals(torch.zeros_like(batch.targets), batch.targets).sum(0))
    assert found["mse"] == pytest.approx(np.square(frames[0][1:] - together.mean(0)).mean(), rel=1e-4)
    assert found["loss"] == pytest.approx(float(batch.targets.square().mean()), rel=1e-5)


def test_classes_and_their_names(folder: Path) -> None:
    task = SpeechClassify(str(folder), PATTERN, split="index", test_indices=1, n_mels=20)
    names, dataset = names_in(task, folder), task.load()
    assert dataset.labels == ("0", "1", "2")
    assert (dataset.input_size, dataset.output_size, dataset.metric) == (20, 3, "accuracy")
    features = Features("log-mel", n_mels=20)
    offset, scale = (np.array(dataset.preprocessing["scaling"][key]) for key in ("offset", "scale"))
    for split, data in parts(dataset).items():
        batch = data.batch(torch.arange(len(data)))
        assert batch.targets.tolist() == [int(name[0]) for name in names[split]]
        for row, name in enumerate(names[split]):
            frames = frames_of(folder / f"{name}.wav", features)
            np.testing.assert_allclose(batch.inputs[row, : len(frames)], (frames - offset) / scale, atol=1e-4)
            assert (batch.inputs[row, len(frames) :] == 0).all()


# Padding.


def model_of(dataset: Dataset, cell: str) -> SequenceModel:
    recipe = load_recipe("fsdd-frames", [f"model.cell={cell}", "model.hidden_size=6"])
    torch.manual_seed(0)
    model = build_model(recipe, dataset.input_size, dataset.output_size, dataset.output)
    assert isinstance(model, SequenceModel)
    return model.double()


@pytest.mark.parametrize("cell", ["lstm", "momentum", "adam"])
@pytest.mark.parametrize("poison", [0.0, 1e30, float("inf"), float("nan")])
def test_padding_reaches_neither_loss_nor_gradient_nor_metric(
    cell: str, poison: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Speech(str(folder)).load()
    objective, model = Objective.of(dataset), model_of(dataset, cell)
    data = dataset.train

    def run(index: list[int]) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        model.zero_grad()
        batch = data.batch(torch.tensor(index))
        outputs = model(batch.inputs.double(), batch.lengths)[0]
        if batch.lengths is not None:
            after = torch.arange(outputs.shape[1]) >= batch.lengths.unsqueeze(1)
            outputs = torch.where(after.unsqueeze(2), poison, outputs)
        loss = objective.loss_sum(outputs, batch.targets)
        loss.backward()
        totals = objective.totals(outputs.detach(), batch.targets).sum(0)
        return loss.detach(), totals, [p.grad.clone() for p in model.parameters() if p.grad is not None]

    rows = [0, 1, 2, 3, 4]
    assert len(set(data.lengths[rows].tolist())) > 2  # type: ignore[index]  # lengths differ, so there are some
    alone = [run([row]) for row in rows]
    # What stands behind a recording in memory, wherever it comes from.
    padded = Steps.padded
    monkeypatch.setattr(Steps, "padded", lambda self, starts, lengths, fill=0: padded(self, starts, lengths, poison))
    loss, totals, gradients = run(rows)
    assert loss == pytest.approx(float(sum(one[0] for one in alone)), rel=1e-12)
    torch.testing.assert_close(totals, torch.stack([one[1] for one in alone]).sum(0), rtol=1e-12, atol=0.0)
    for place, gradient in enumerate(gradients):
        expected = torch.stack([one[2][place] for one in alone]).sum(0)
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


# Kept frames.


class Told(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.prepared: list[tuple[int, int]] = []

    def preparation(self, name: str, done: int, total: int) -> None:
        self.prepared.append((done, total))

    def note(self, text: str, level: str = "info") -> None:
        self.notes.append(text)


def everything(dataset: Dataset) -> torch.Tensor:
    batch = dataset.train.batch(torch.arange(len(dataset.train)))
    return torch.cat((batch.inputs, batch.targets.nan_to_num(123.0)))


def test_frames_are_computed_once(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    threads = torch.get_num_threads()
    first = everything(Speech(str(folder), num_workers=3).load(None, told))
    assert torch.get_num_threads() == threads
    assert told.prepared[0] == (0, 48)
    assert told.prepared[-1] == (48, 48)
    assert [done for done, _ in told.prepared] == sorted(done for done, _ in told.prepared)
    assert not told.notes
    (entry,) = cache.iterdir()
    assert sorted(file.name for file in entry.iterdir()) == ["frames.bin", "index.json"]

    def never(*_: Any) -> None:
        raise AssertionError("frames are computed again")

    monkeypatch.setattr(Features, "__call__", never)
    told = Told()
    # How the recordings are divided, and how frames are used, is no matter of the frames.
    assert torch.equal(first, everything(Speech(str(folder)).load(None, told)))
    Speech(str(folder), pattern=PATTERN, split="speaker", normalise="none", predict="previous").load(None, told)
    assert not told.prepared
    # Read from the disk where they are too large for the memory.
    monkeypatch.setattr(kept, "LARGE", 0)
    assert torch.equal(first, everything(Speech(str(folder)).load()))


def test_each_thread_computes_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, compute, seen = torch.get_num_threads(), Features.__call__, set()

    def watched(self: Features, samples: np.ndarray, rate: int) -> np.ndarray:
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return compute(self, samples, rate)

    monkeypatch.setattr(Features, "__call__", watched)
    try:
        torch.set_num_threads(2)
        Speech(str(folder), num_workers=2).load()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert {count for _, count in seen} == {1}
    assert threading.current_thread().name not in {name for name, _ in seen}


@pytest.mark.parametrize("change", ["n_fft", "kind", "file", "new", "older"])
def test_another_setting_or_file_never_meets_old_frames(change: str, folder: Path, cache: Path) -> None:
    Speech(str(folder)).load()
    task: Speech | SpeechClassify = Speech(str(folder))
    file = folder / "1_cy_2.wav"
    if change == "n_fft":
        task = Speech(str(folder), n_fft=128)
    elif change == "kind":
        task = SpeechClassify(str(folder), PATTERN)
    elif change == "file":
        write_wav(file, pcm16(speech_like(0.3, 8000, 99)), 8000)
    elif change == "new":
        write_wav(folder / "2_di_9.wav", pcm16(speech_like(0.3, 8000, 99)), 8000)
    else:
        # Same size, other samples: the time tells.
        content = bytearray(file.read_bytes())
        content[100] ^= 0x40
        file.write_bytes(bytes(content))
    told = Told()
    second = task.load(None, told)
    assert told.prepared[-1][0] == 48 + (change == "new")
    assert len(list(cache.iterdir())) == 2
    shutil.rmtree(cache)
    index = torch.arange(len(second.test))
    assert torch.equal(second.test.batch(index).inputs, task.load().test.batch(index).inputs)


def test_folders_that_change_places_do_not_change_frames(folder: Path, cache: Path) -> None:
    """Sizes, times and names are equal; only the content tells which folder is which."""
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    for path in other.glob("*.wav"):
        content = bytearray(path.read_bytes())
        content[100] ^= 0x40
        path.write_bytes(bytes(content))
    for path in (*folder.glob("*.wav"), *other.glob("*.wav")):
        os.utime(path, (1, 1))
    first, second = (Speech(str(place)).load().test for place in (folder, other))
    index = torch.arange(len(first))
    frames = first.batch(index).inputs, second.batch(index).inputs
    assert not torch.equal(*frames)
    folder.rename(folder.with_name("between"))
    other.rename(folder)
    assert torch.equal(Speech(str(folder)).load().test.batch(index).inputs, frames[1])


@pytest.mark.parametrize("damage", ["bit", "cut", "index", "gone", "negative"])
def test_damaged_frames_are_computed_again_and_the_user_is_told(damage: str, folder: Path, cache: Path) -> None:
    first = everything(Speech(str(folder)).load())
    (entry,) = cache.iterdir()
    frames = entry / "frames.bin"
    if damage == "bit":
        content = bytearray(frames.read_bytes())
        content[5000] ^= 1
        frames.write_bytes(bytes(content))
    elif damage == "cut":
        frames.write_bytes(frames.read_bytes()[:-4])
    elif damage == "index":
        (entry / "index.json").write_text("{")
    elif damage == "negative":
        (entry / "index.json").write_text('{"lengths": "abc", "digest": 3}')
    else:
        frames.unlink()
    told = Told()
    assert torch.equal(first, everything(Speech(str(folder)).load(None, told)))
    (note,) = told.notes
    assert "damaged; they are computed again" in note
    assert str(entry) in note
    assert told.prepared
    told = Told()
    Speech(str(folder)).load(None, told)
    assert not told.prepared
    assert [place.name for place in cache.iterdir()] == [entry.name]


def test_frames_that_a_disk_lost_are_refused_and_not_computed_twice(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loses(entry: Path, fill: Any) -> bool:
        made = keep_folder(entry, fill)
        (entry / "frames.bin").write_bytes(b"")
        return made

    monkeypatch.setattr(kept, "keep", loses)
    told = Told()
    with pytest.raises(DataError, match="just written there cannot be read back; give another cache folder in XDG_"):
        Speech(str(folder)).load(None, told)
    assert told.prepared.count((48, 48)) == 1


def test_without_a_cache_folder_the_frames_are_not_kept(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    first = everything(Speech(str(folder)).load())
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    told = Told()
    assert torch.equal(first, everything(Speech(str(folder)).load(None, told)))
    assert "XDG_CACHE_HOME" in told.notes[0]


def test_nothing_is_kept_of_a_folder_with_a_problem(folder: Path, cache: Path) -> None:
    broken = folder / "0_ann_1.wav"
    broken.write_bytes(broken.read_bytes()[:-50])
    write_wav(folder / "0_bob_1.wav", np.zeros((90, 2)), 8000)
    with pytest.raises(DataError) as caught:
        Speech(str(folder)).load()
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{folder}: 2 problems"
    assert lines[1].startswith("0_ann_1.wav: cut short")
    assert lines[2].startswith("0_bob_1.wav: the recording must have one channel, got 2; set task.channel to mean")
    assert not list(cache.iterdir())


# Commands.


def recipe_of(name: str, folder: Path, **task: Any) -> Recipe:
    return parse_recipe(
        {
            "task": {"name": name, "path": str(folder), **task},
            "model": {"hidden_size": 6},
            "optimizer": {"name": "adam", "lr": 0.02},
            "train": {"max_steps": 3, "batch_size": 8},
        }
    )


def test_describe_and_check(folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of("speech-classify", folder, pattern=PATTERN, split="index", test_indices=1)
    picture = tmp_path / "samples.png"
    found = describe_data(recipe, picture=picture)
    assert found["path"] == str(folder)
    assert found["splits"]["test"]["classes"] == {"0": 4, "1": 4, "2": 4}
    assert found["splits"]["train"]["shortest"] == 9
    assert picture.stat().st_size > 0
    found = describe_data(recipe_of("speech", folder))
    assert found["input_size"] == 129
    assert check_data(recipe) == {"task": "speech-classify", "path": str(folder), "ok": True, "problems": []}
    shutil.copy(folder / "1_ann_3.wav", folder / "1_ann_0.wav")
    write_wav(folder / "x_ann_0.wav", pcm16(speech_like(0.2, 8000, 5)), 8000)
    (folder / "0_cy_3.wav").write_bytes(b"RIFF")
    messages = [problem["message"] for problem in check_data(recipe)["problems"]]
    assert messages == [
        "0_cy_3.wav: not a readable audio file (Format not recognised.)",
        "class 'x' has no training recording: no model can learn it",
    ]
    (folder / "0_cy_3.wav").unlink()
    messages = [problem["message"] for problem in check_data(recipe)["problems"]]
    assert messages[0] == "class 'x' has no training recording: no model can learn it"
    assert messages[1].startswith("1 of 13 sequences of the split test are in ")
    assert "'1_ann_3.wav' in " in messages[1]
    assert "'1_ann_0.wav' in test" in messages[1]
    assert check_data(recipe)["ok"]
    task = SpeechClassify(str(folder), PATTERN, split="index", test_indices=1)
    assert list(task.load().warnings) == messages


def test_too_few_and_too_alike(tmp_path: Path) -> None:
    for number in range(3):
        write_wav(tmp_path / "w" / f"a_x_{number}.wav", pcm16(speech_like(0.1, 8000, number)), 8000)
    with pytest.raises(DataError, match=r"must have two or more labels, got 1 \(a\)"):
        SpeechClassify(str(tmp_path / "w"), PATTERN).load()
    with pytest.raises(DataError, match=r"split=speaker needs more speakers, got 1 \(x\)"):
        Speech(str(tmp_path / "w"), pattern=PATTERN, split="speaker").load()
    with pytest.raises(DataError, match=r"test_indices=9: 3 of 3 recordings"):
        Speech(str(tmp_path / "w"), pattern=PATTERN, split="index", test_indices=9).load()
    with pytest.raises(DataError, match="must be a folder of recordings, got a file"):
        Speech(str(tmp_path / "w" / "a_x_0.wav")).load()
    with pytest.raises(DataError, match=r"task\.path: not found"):
        Speech("nowhere").load(tmp_path)
