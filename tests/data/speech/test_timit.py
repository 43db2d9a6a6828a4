"""TIMIT in the layout of the LDC, built here with real names and headers: what is read, and what is refused."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from speech_files import SENTENCES, TIMIT_RATE, pcm16, speech_like, sphere, write_speaker, write_timit, write_wav

from momentum_cli.data import Speech
from momentum_cli.data.problems import Problems
from momentum_cli.data.speech import timit
from momentum_cli.data.speech.timit_speakers import CORE_TEST, DEV, OTHER_TEST, TRAIN
from momentum_cli.errors import DataError
from momentum_cli.inspection.data import check_data
from momentum_cli.recipe.recipe import parse_recipe

# A small corpus of the same kind: the lists of speakers are cut to these.
FEW_TRAIN = {"FCJF0": 1, "MDAC0": 1, "FAEM0": 2, "MTCS0": 8}
FEW_DEV = {"FAKS0": 1, "MGWT0": 2}
FEW_TEST = {"MDAB0": 1, "FELC0": 1}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = {"TRAIN": FEW_TRAIN.items(), "TEST": [*FEW_DEV.items(), *FEW_TEST.items(), ("MABW0", 1)]}
    return write_timit(tmp_path_factory.mktemp("corpus") / "TIMIT", parts)


@pytest.fixture
def tree(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change."""
    monkeypatch.setattr(timit, "TRAIN", FEW_TRAIN)
    monkeypatch.setattr(timit, "DEV", FEW_DEV)
    monkeypatch.setattr(timit, "CORE_TEST", FEW_TEST)
    for split, speakers in (("train", FEW_TRAIN), ("validation", FEW_DEV), ("test", FEW_TEST)):
        monkeypatch.setitem(timit._SPEAKERS, split, speakers)
        monkeypatch.setitem(timit.UTTERANCES, split, 8 * len(speakers))
    return Path(shutil.copytree(original, tmp_path / "TIMIT"))


def messages(tree: Path) -> list[str]:
    """The problems reported by `data check`."""
    recipe = parse_recipe(
        {
            "task": {"name": "speech", "path": str(tree), "format": "timit"},
            "model": {"hidden_size": 4},
            "optimizer": {"name": "adam", "lr": 0.01},
            "train": {"max_steps": 1},
        }
    )
    result = check_data(recipe)
    assert result["ok"] == (not result["problems"])
    return [problem["message"] for problem in result["problems"]]


def only(tree: Path) -> str:
    (message,) = messages(tree)
    with pytest.raises(DataError) as caught:
        Speech(str(tree), format="timit").load()
    assert message in str(caught.value)
    assert str(tree) in str(caught.value)
    return message


def test_the_lists_of_speakers_are_those_of_the_corpus() -> None:
    assert (len(TRAIN), len(DEV), len(CORE_TEST), len(OTHER_TEST)) == (462, 50, 24, 94)
    assert timit.UTTERANCES == {"train": 3696, "validation": 400, "test": 192}
    everybody = [*TRAIN, *DEV, *CORE_TEST, *OTHER_TEST]
    assert len(set(everybody)) == 630
    assert Counter(name[0] for name in everybody) == {"M": 438, "F": 192}
    assert all(len(name) == 5 and name[4].isdigit() for name in everybody)
    # Speakers of each region in the training part, as its documentation counts them; two men and a woman in each region
    # of the core test set.
    assert [Counter(TRAIN.values())[region] for region in range(1, 9)] == [38, 76, 76, 68, 70, 35, 77, 22]
    assert Counter((region, name[0]) for name, region in CORE_TEST.items()) == {
        (region, sex): count for region in range(1, 9) for sex, count in (("M", 2), ("F", 1))
    }


WHOLE = {"TRAIN": TRAIN.items(), "TEST": [*DEV.items(), *CORE_TEST.items()]}


@pytest.mark.slow
def test_a_whole_corpus_goes_through_the_loader(tmp_path: Path) -> None:
    tree = write_timit(tmp_path / "TIMIT", WHOLE, 0.01)
    dataset = Speech(str(tree), format="timit").load()
    assert dataset.validation is not None
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [3696, 400, 192]


def test_a_whole_corpus_is_counted(tmp_path: Path) -> None:
    tree = tmp_path / "TIMIT"
    for part, speakers in WHOLE.items():
        for speaker, region in speakers:
            folder = tree / part / f"DR{region}" / speaker
            folder.mkdir(parents=True)
            for sentence in SENTENCES:
                (folder / f"{sentence}.WAV").touch()
    problems = Problems()
    corpus = Speech(str(tree), format="timit").corpus(tree, problems)
    assert not problems
    assert {split: len(part) for split, part in corpus.parts.items()} == {"train": 3696, "validation": 400, "test": 192}
    (tree / "TEST" / "DR3" / "FPKT0").rename(tmp_path / "FPKT0")
    (tree / "TRAIN" / "DR7" / "MWRP0" / "SX37.WAV").unlink()
    problems = Problems()
    found = timit.list_timit(tree, problems)
    assert len(found) == 3696 + 400 + 192 - 8 - 1
    missing, incomplete = (str(problem) for problem in sorted(problems.all, key=lambda problem: problem.code)[::-1])
    assert "1 of 24 speakers of the split test are missing: DR3/FPKT0" in missing
    assert "the complete split has 192 utterances, here at most 184" in missing
    assert incomplete.startswith("TRAIN/DR7/MWRP0: must have 5 SX sentences, got 4 (SX")


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_a_small_corpus(lower: bool, inside: bool, tree: Path, tmp_path: Path) -> None:
    if lower:
        for place in sorted(tree.rglob("*"), key=lambda place: -len(place.parts)):
            place.rename(place.with_name(place.name.lower()))
    problems = Problems()
    found = timit.list_timit(tree.parent if inside else tree, problems)
    assert not problems
    assert Counter(recording.split for recording in found) == {"train": 32, "validation": 16, "test": 16}
    assert {recording.speaker for recording in found if recording.split == "test"} == set(FEW_TEST)
    names = [recording.name.upper() for recording in found]
    assert names[0] == "TRAIN/DR1/FCJF0/SI648.WAV"
    assert not [name for name in names if "/SA" in name or "MABW0" in name]
    dataset = Speech(str(tree), format="timit").load()
    batch = dataset.test.batch(torch.arange(16))
    # 16 kHz to 8 kHz: 0.2 s are 13 hops of 128 samples, with three more frames, which make one step less.
    assert batch.lengths is not None
    assert int(batch.lengths.min()) == 13 + 3 - 1
    assert dataset.input_size == dataset.output_size == 129


def test_both_byte_orders_and_converted_copies_give_the_same_frames(tree: Path) -> None:
    before = Speech(str(tree), format="timit").load().train.batch(torch.arange(32))
    for number, file in enumerate(sorted((tree / "TRAIN").rglob("*.WAV"))):
        if number % 2:
            # As in copies of the corpus that were converted to RIFF, with or without the originals.
            import soundfile

            samples, rate = soundfile.read(file, dtype="int16")
            soundfile.write(file.with_name(file.name + ".wav"), samples, rate, subtype="PCM_16")
            if number % 4 == 1:
                file.unlink()
    after = Speech(str(tree), format="timit").load().train.batch(torch.arange(32))
    assert torch.equal(before.inputs, after.inputs)


def test_a_missing_speaker_is_named(tree: Path) -> None:
    shutil.rmtree(tree / "TEST" / "DR2" / "MGWT0")
    message = only(tree)
    assert message.startswith("TEST: 1 of 2 speakers of the split validation are missing: DR2/MGWT0")
    assert "the complete split has 16 utterances, here at most 8" in message


def test_an_incomplete_speaker_is_named(tree: Path) -> None:
    (tree / "TRAIN" / "DR1" / "FCJF0" / "SI648.WAV").unlink()
    assert only(tree) == "TRAIN/DR1/FCJF0: must have 3 SI sentences, got 2 (SI1027, SI1657)"


def test_a_wrong_sex_letter_is_named(tree: Path) -> None:
    (tree / "TRAIN" / "DR1" / "FCJF0").rename(tree / "TRAIN" / "DR1" / "MCJF0")
    first, second = messages(tree)
    assert first == "TRAIN/DR1/MCJF0: the first letter is the sex, and the speaker is FCJF0 of DR1"
    assert "missing: DR1/FCJF0" in second


def test_a_wrong_region_is_named_once(tree: Path) -> None:
    (tree / "TRAIN" / "DR1" / "MDAC0").rename(tree / "TRAIN" / "DR2" / "MDAC0")
    assert only(tree) == "TRAIN/DR2/MDAC0: MDAC0 is of DR1, not of DR2"


def test_an_unknown_speaker_and_one_of_the_other_part_are_named(tree: Path) -> None:
    write_speaker(tree / "TRAIN" / "DR8" / "MXYZ0", 0.05, 77)
    assert only(tree).startswith("TRAIN/DR8/MXYZ0: not a speaker of TIMIT")
    shutil.rmtree(tree / "TRAIN" / "DR8" / "MXYZ0")
    write_speaker(tree / "TRAIN" / "DR1" / "FELC0", 0.05, 78)
    assert only(tree) == "TRAIN/DR1/FELC0: FELC0 is a speaker of TEST"
    shutil.rmtree(tree / "TRAIN" / "DR1" / "FELC0")
    (tree / "TRAIN" / "DR9").mkdir()
    assert only(tree) == "TRAIN/DR9: not a dialect region, DR1 to DR8"


def test_a_recording_of_another_speaker_is_named_by_its_header(tree: Path) -> None:
    one, other = (tree / "TRAIN" / "DR1" / name / "SX127.WAV" for name in ("FCJF0", "MDAC0"))
    shutil.copy(other, one)
    message = next(text for text in messages(tree) if "identical" not in text)
    assert message == (
        "TRAIN/DR1/FCJF0/SX127.WAV: its header names the utterance dac0_sx127, expected cjf0_sx127: "
        "the file or its speaker is mislabelled"
    )


def test_a_truncated_file_and_a_wrong_sample_rate_are_named_together(tree: Path) -> None:
    cut = tree / "TEST" / "DR1" / "FELC0" / "SX307.WAV"
    cut.write_bytes(cut.read_bytes()[:-1000])
    slow = tree / "TRAIN" / "DR8" / "MTCS0" / "SI1027.WAV"
    samples = pcm16(speech_like(0.1, 8000))
    slow.write_bytes(sphere(samples, 8000, utterance="tcs0_si1027"))
    count = int(cut.read_bytes().partition(b"sample_count -i ")[2].split()[0])
    assert messages(tree) == [
        "TRAIN/DR8/MTCS0/SI1027.WAV: the sample rate of TIMIT is 16000 Hz, got 8000 Hz",
        f"TEST/DR1/FELC0/SX307.WAV: cut short: {count - 500} of the {count} samples in its header; copy it again",
    ]
    with pytest.raises(DataError, match="2 problems"):
        Speech(str(tree), format="timit").load()
    # Also of a copy that was converted.
    slow.unlink()
    cut.unlink()
    write_wav(slow.with_suffix(".wav"), samples, 22050)
    write_wav(cut.with_suffix(".wav"), pcm16(speech_like(0.2, TIMIT_RATE)), TIMIT_RATE)
    assert only(tree) == "TRAIN/DR8/MTCS0/SI1027.wav: the sample rate of TIMIT is 16000 Hz, got 22050 Hz"


def test_shorten_is_refused_by_name(tree: Path) -> None:
    file = tree / "TRAIN" / "DR2" / "FAEM0" / "SX37.WAV"
    file.write_bytes(
        sphere(pcm16(speech_like(0.1, TIMIT_RATE)), TIMIT_RATE, sample_coding="pcm,embedded-shorten-v2.00")
    )
    assert "compressed with shorten" in only(tree)
    assert "sph2pipe" in only(tree)


def test_a_folder_that_is_no_timit(tmp_path: Path) -> None:
    (tmp_path / "x" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"has no folder TEST; it must have the layout of LDC93S1.*task\.format=wav"):
        Speech(str(tmp_path / "x"), format="timit").load()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"split": "fraction"}, "split"),
        ({"pattern": "{speaker}/*"}, "pattern"),
        ({"test_fraction": 0.2}, "test_fraction"),
    ],
)
def test_the_division_of_timit_is_fixed(options: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be left out with format timit"):
        Speech("x", format="timit", **options)  # type: ignore[arg-type]
