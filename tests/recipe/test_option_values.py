"""Every option of translation and of adversarial training: values of another type and outside its range are refused."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from recipe_files import MINIMAL, mistakes, write

from momentum_cli.data import Translation
from momentum_cli.recipe.sections import AdversarialOptions, TranslationModelOptions

OTHER_TYPES = {
    "text": ["{}", "[a]", "3", "true", ".nan"],
    "number": ["{}", "[1]", "a", "''", "true", ".nan", ".inf"],
    "flag": ["{}", "[1]", "a", "''", "2", ".nan"],
}
# Every option: its type, and values outside its range.
OPTIONS = {
    "task.path": ("text", []),
    "task.source_language": ("text", ["''", "../en", "a.b", "abcdefghijklmnopq"]),
    "task.target_language": ("text", ["''", "de/", "' '", "en"]),
    "task.train": ("text", []),
    "task.validation": ("text", []),
    "task.test": ("text", []),
    "task.validation_fraction": ("number", ["-0.1", "0", "1"]),
    "task.test_fraction": ("number", ["-0.1", "0", "1", "0.97"]),
    "task.vocabulary_size": ("number", ["-1", "0", "4", "2147483648", "100.5"]),
    "task.joint": ("flag", []),
    "task.max_length": ("number", ["-1", "0", "1.5"]),
    "model.translation.embedding_size": ("number", ["-1", "0", "1.5"]),
    "model.translation.tied": ("text", ["''", "source"]),
    "model.translation.input_feeding": ("flag", []),
    "model.translation.embedding_dropout": ("number", ["-0.1", "1", "1.5"]),
    "model.translation.input_dropout": ("number", ["-0.1", "1", "1.5"]),
    "model.translation.memory_dropout": ("number", ["-0.1", "1", "1.5"]),
    "model.translation.output_dropout": ("number", ["-0.1", "1", "1.5"]),
    "model.translation.beam_size": ("number", ["-1", "0", "101", "2.5"]),
    "model.translation.length_penalty": ("number", ["-0.1", "10.5"]),
    "train.adversarial.attack": ("text", ["''", "pdg"]),
    "train.adversarial.epsilon": ("number", ["-1", "0"]),
    "train.adversarial.steps": ("number", ["-1", "0", "1.5"]),
    "train.adversarial.step_size": ("number", ["-1", "0"]),
}
TRANSLATION = ["task={name: translation, path: a.tsv}"]
SECTIONS = {
    "task": [field.name for field in fields(Translation)],
    "model.translation": list(TranslationModelOptions.model_fields),
    "train.adversarial": list(AdversarialOptions.model_fields),
}


WRONG = [(option, value) for option, (kind, outside) in OPTIONS.items() for value in [*OTHER_TYPES[kind], *outside]]


def test_no_option_is_forgotten() -> None:
    assert list(OPTIONS) == [f"{section}.{name}" for section, names in SECTIONS.items() for name in names]


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_a_value_of_another_type_or_outside_the_range_is_refused(tmp_path: Path, option: str, value: str) -> None:
    before = ["train.adversarial={epsilon: 0.1}"] if option.startswith("train") else TRANSLATION
    where, message = mistakes(write(tmp_path, MINIMAL), *before, f"{option}={value}").pop(option)
    assert where.startswith("override ")
    # What it must be, and what it was.
    assert re.search(r"^must .*, got ", message), message


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_option_is_named_with_the_nearest_one(tmp_path: Path, section: str) -> None:
    name = SECTIONS[section][1]
    before = ["train.adversarial={epsilon: 0.1}"] if section.startswith("train") else TRANSLATION
    wrong = f"{section}.{name}x"
    assert f"did you mean {name!r}?" in mistakes(write(tmp_path, MINIMAL), *before, f"{wrong}=1")[wrong][1]


@pytest.mark.parametrize("section", ["model.translation", "train.adversarial"])
@pytest.mark.parametrize("value", ["3", "pgd", "[1]", "true"])
def test_a_section_must_be_a_mapping(tmp_path: Path, section: str, value: str) -> None:
    assert "must be a mapping" in mistakes(write(tmp_path, MINIMAL), *TRANSLATION, f"{section}={value}")[section][1]
