"""The task language from recipe to result: training and its resume, evaluation, generation, export, prediction."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from momentum_cli.cli import app
from momentum_cli.errors import DataError, RecipeError, RunError
from momentum_cli.formats.export import export, open_program
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.generate import draw, generate
from momentum_cli.inference.predict.predict import predict
from momentum_cli.models.language import LanguageModel
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.recipe import Recipe, parse_recipe
from momentum_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from momentum_cli.training.launch import launch
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.train import dry_run, train
from momentum_cli.training.trained import load_model
from momentum_cli.training.trainer import Trainer

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "then", "runs", "home", "to", "sleep"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "tiny.txt"
    choose = random.Random(0)
    path.write_text("".join(" ".join(choose.choices(WORDS, k=6)) + "\n" for _ in range(60)))
    return path


def recipe(text: Path, cell: str = "momentum", **sections: Any) -> Recipe:
    content: dict[str, Any] = {
        "task": {"name": "language", "path": str(text), "validation_fraction": 0.2, "test_fraction": 0.2},
        "model": {"cell": cell, "hidden_size": 8, "num_layers": 2, "language": {"embedding_size": 6}},
        "optimizer": {"name": "adam", "lr": 0.01},
        "train": {"max_steps": 12, "batch_size": 3, "eval_batch_size": 2, "bptt": {"length": 20}, "seed": 1},
    }
    for name, section in sections.items():
        content[name] = {**content.get(name, {}), **section}
    return parse_recipe(content)


def trainer(recipe: Recipe) -> Trainer:
    return Trainer(recipe, build_task(recipe).load(), launch(recipe, 1, 1, "cpu"))


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    options = {"embedding_size": 6, "tied": True, "hidden_dropout": 0.1, "weight_dropout": 0.1}
    train(recipe(text, "sr", model={"language": options}), out=out, accelerator="cpu")
    return out


# Training.


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("cell", ["lstm", "momentum", "nesterov", "sr", "rmsprop", "adam-gru", "momentum-dtriv"])
def test_a_run_cut_in_the_middle_of_an_epoch_goes_on_bit_for_bit(
    text: Path, tmp_path: Path, cell: str, backend: str
) -> None:
    language = {"embedding_size": 8, "tied": True, "input_dropout": 0.2, "embedding_dropout": 0.2}
    model = {"backend": backend, "language": language}
    bptt = {"length": 20, "variable": True, "ar": 2.0, "tar": 1.0}
    settings = recipe(text, cell, model=model, train={"bptt": bptt, "accumulate": 2, "batch_size": 2})
    whole = trainer(settings)
    for _ in range(5):
        whole.step()
    assert whole.progress.step_in_epoch == 5
    save_checkpoint(tmp_path / "cut.safetensors", snapshot(whole))
    again = trainer(settings)
    restore(again, load_checkpoint(tmp_path / "cut.safetensors"))
    for _ in range(whole.steps_per_epoch):
        one, two = whole.step(), again.step()
        assert (one.loss, one.grad_norm, one.lr) == (two.loss, two.grad_norm, two.lr)
    assert whole.progress.epoch == 1
    assert whole.progress.samples == again.progress.samples
    for left, right in zip(whole.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_step_goes_on_with_the_state_of_the_one_before_and_an_epoch_starts_anew(text: Path) -> None:
    one = trainer(recipe(text))
    assert isinstance(one.module, LanguageModel)
    data = one.dataset.train
    state = None
    for step in range(one.steps_per_epoch + 2):
        if step == one.steps_per_epoch:
            state = None
        epoch, number = divmod(step, one.steps_per_epoch)
        batch = data.batch(one._groups.group(epoch, number))
        with torch.no_grad():
            summed, _, state = one.module.training_loss(batch, state, one.objective.loss_sum)
        assert one.step().loss == pytest.approx(float(summed) / batch.targets.numel(), rel=1e-5)
    assert one.progress.samples == len(data) // 3 * 3 + 2 * 3 * 20


def test_a_step_that_is_not_finite_leaves_the_state_alone(text: Path) -> None:
    one = trainer(recipe(text))
    one.step()
    before = one.carried
    weight = one.module.head.weight  # type: ignore[union-attr]
    kept = weight.detach().clone()
    weight.data.fill_(math.nan)
    assert one.step().skipped
    assert one.carried is before
    weight.data.copy_(kept)
    assert not one.step().skipped
    assert one.carried is not before


def test_penalties_move_the_gradient_and_not_the_reported_loss(text: Path) -> None:
    plain = trainer(recipe(text))
    punished = trainer(recipe(text, train={"bptt": {"length": 20, "ar": 2.0, "tar": 3.0}}))
    assert isinstance(plain.module, LanguageModel)
    batch = plain.dataset.train.batch(plain._groups.group(0, 0))
    hidden, _ = plain.module.layer(plain.module.embedding(batch.inputs.t()))
    loss = torch.nn.functional.cross_entropy(plain.module.head(hidden).flatten(0, 1), batch.targets.t().flatten())
    (loss + 2.0 * hidden.square().mean() + 3.0 * (hidden[1:] - hidden[:-1]).square().mean()).backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in plain.module.parameters() if p.grad is not None])
    plain.optimizer.zero_grad()
    one, two = plain.step(), punished.step()
    assert one.loss == pytest.approx(two.loss, rel=1e-6)
    assert two.grad_norm == pytest.approx(float(norm), rel=1e-5)
    assert two.grad_norm != pytest.approx(one.grad_norm, rel=1e-4)


def test_the_rate_follows_the_length_of_a_variable_window(text: Path) -> None:
    one = trainer(recipe(text, train={"bptt": {"length": 20, "variable": True}}))
    for step in range(4):
        window = one._groups.group(0, step)
        assert one.step().lr == pytest.approx(0.01 * window.shape[1] / 20)


def test_averaging_is_evaluated_saved_as_the_model_and_resumed(text: Path, tmp_path: Path) -> None:
    settings = recipe(text, train={"averaging": {"patience": 1}}, optimizer={"name": "sgd", "lr": 1.0})
    one = trainer(settings)
    assert one.average is None
    for value in (3.0, 2.0, 5.0):
        one.record({"bits_per_character": value, "loss": value}, "validation")
    assert one.progress.averaging_from == 0
    seen = []
    for _ in range(3):
        one.step()
        seen.append(one.module.state_dict()["embedding.weight"].clone())
    checkpoint = snapshot(one)
    torch.testing.assert_close(checkpoint.tensors["model.embedding.weight"], torch.stack(seen).mean(0))
    assert torch.equal(checkpoint.tensors["training.embedding.weight"], seen[-1])
    own = one.evaluate("test")
    plain = one.evaluate("test", parameters={k: v.clone() for k, v in one.module.state_dict().items()})
    assert own != plain
    assert torch.equal(one.module.state_dict()["embedding.weight"], seen[-1])
    save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    again = trainer(settings)
    restore(again, load_checkpoint(tmp_path / "a.safetensors"))
    assert again.evaluate("test") == own
    for _ in range(2):
        assert one.step().loss == again.step().loss
    assert one.evaluate("test") == again.evaluate("test")


def test_metrics_are_those_of_the_whole_split_by_hand(text: Path) -> None:
    one = trainer(recipe(text, train={"eval_batch_size": 1}))
    tokens = one.dataset.test.tokens.long()  # type: ignore[attr-defined]
    with torch.no_grad():
        logits, _ = one.module.eval()(tokens[:-1].unsqueeze(0))
    chosen = logits[0].double().log_softmax(1).gather(1, tokens[1:].unsqueeze(1))
    nats = -float(chosen.mean())
    found = one.evaluate("test")
    assert found["loss"] == pytest.approx(nats, rel=1e-6)
    assert found["bits_per_character"] == pytest.approx(nats / math.log(2), rel=1e-6)
    words = trainer(recipe(text, task={"level": "word"}))
    found = words.evaluate("test")
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert 0.8 * 16 < found["perplexity"] < 1.2 * 16  # uniform over the words and <eos> before any training


# Recipes.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.bidirectional=true", "a token must not be predicted from itself"),
        ("model.dropout=0.5", "hidden_dropout"),
        ("model.language.cutoffs=[4, 2]", "ascending"),
        ("model.language.div_value=2", "be left out without cutoffs, got 2"),
        ("model.language={tied: true, cutoffs: [3]}", "leave out tied or cutoffs"),
        (
            "model={cell: dtriv, hidden_size: 8, language: {weight_dropout: 0.5}}",
            "must be 0 for the orthogonal cell dtriv",
        ),
        ("train.bptt={length: 10, variable: true}", "must be >= 20"),
        ("target={metric: perplexity, value: 9}", "bits_per_character"),
        ("task={name: digits}", "belongs to the task language"),
        ("train.bptt.lenght=3", "length"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(text: Path, change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(text).override(change)


def test_defaults_are_written_down_and_evaluation_has_one_stream(text: Path) -> None:
    bare = parse_recipe(
        {
            "task": {"name": "language", "path": str(text)},
            "model": {"hidden_size": 4},
            "optimizer": {"name": "sgd", "lr": 1},
            "train": {"epochs": 1},
        }
    )
    assert bare.train.bptt is not None
    assert bare.train.bptt.length == 70
    assert bare.train.eval_batch_size == 1
    assert bare.model.language is not None
    assert parse_recipe(bare.dump()) == bare


# What a run is good for.


def test_a_run_is_evaluated_with_the_metric_of_its_result(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["test"].keys() == {"loss", "bits_per_character"}
    assert result["samples"] == 12 * 3 * 20
    found = evaluate(run)
    assert found["bits_per_character"] == pytest.approx(result["test"]["bits_per_character"], rel=1e-6)


def test_a_text_is_continued_with_the_state_of_all_before(run: Path) -> None:
    pieces: list[str] = []
    first = generate(run, prompt="the fox ", length=25, temperature=0.0, write=pieces.append)
    assert "".join(pieces) == "the fox " + first["text"]
    model = load_model(run).model
    tokens = load_model(run).checkpoint.data["dataset"]["preprocessing"]["vocabulary"]
    written = "the fox "
    with torch.no_grad():
        for character in first["text"]:
            numbers = torch.tensor([[tokens.index(c) for c in written]])
            assert tokens[int(model(numbers)[0][0, -1].argmax())] == character
            written += character


def test_the_seed_decides_the_text(run: Path) -> None:
    texts = [generate(run, prompt="a", length=40, temperature=1.0, seed=seed)["text"] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    few = generate(run, prompt="a", length=40, temperature=5.0, top_k=1, seed=3)["text"]
    assert few == generate(run, prompt="a", length=40, temperature=0.0)["text"]


def test_draws_follow_the_temperature() -> None:
    logits = torch.tensor([0.0, math.log(3.0), -math.inf]).double()
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(logits, 0.5, None, generator) for _ in range(2000)]
    assert drawn.count(2) == 0
    assert drawn.count(1) / 2000 == pytest.approx(9 / 10, abs=0.03)
    assert {draw(logits, 100.0, 1, generator) for _ in range(20)} == {1}
    for wrong in (math.nan, math.inf):
        for temperature in (0.0, 1.0):
            with pytest.raises(RunError, match="logits that are not numbers"):
                draw(torch.tensor([0.0, wrong]), temperature, None, generator)


def test_what_cannot_be_generated_says_why(run: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"only characters that the model knows, got '7' 'ü'; it knows"):
        generate(run, prompt="fox 7ü")
    with pytest.raises(RecipeError, match="--length"):
        generate(run, length=0)
    for temperature in (math.inf, math.nan, -1.0):
        with pytest.raises(RecipeError, match="--temperature must be >= 0 and finite, got "):
            generate(run, prompt="a", temperature=temperature)
    for option in ("top_k", "seed"):
        with pytest.raises(
            RecipeError, match=f"--{option.replace('_', '-')} must be left out with --temperature 0, got 3"
        ):
            generate(run, prompt="a", temperature=0.0, **{option: 3})  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="--batch-size must be left out for a language model, got 2"):
        predict(run, [str(text)], batch_size=2)
    words = recipe(text, task={"level": "word"}, train={"max_steps": 1})
    out = tmp_path / "words"
    train(words, out=out, accelerator="cpu")
    found = generate(out, prompt="fox zebra", length=5)
    assert found["unknown"] == ["zebra"]
    assert len(found["text"].replace("\n", " <eos> ").split()) == 5


def test_the_command_writes_text_or_one_json_object(run: Path) -> None:
    result = CliRunner().invoke(app, ["generate", str(run), "--prompt", "the ", "--length", "9", "--seed", "4"])
    assert result.exit_code == 0
    expected = generate(run, prompt="the ", length=9, seed=4)["text"]
    assert result.stdout == f"the {expected}\n"
    result = CliRunner().invoke(
        app, ["generate", str(run), "--prompt", "the ", "--length", "9", "--json", "--seed", "4"]
    )
    assert json.loads(result.stdout)["text"] == expected


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("format", "stateful"),
    [
        *((format, stateful) for format in ("safetensors", "torchscript", "onnx") for stateful in (False, True)),
        ("pt2", True),
        pytest.param("pt2", False, marks=SLOW),
    ],
)
def test_every_format_computes_the_same(run: Path, tmp_path: Path, format: str, stateful: bool) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    file = tmp_path / "model"
    result = export(run, format=format, stateful=stateful, out=file)
    assert result["parity"]["max_abs"] < 1e-4
    assert result["test"]["file"] == pytest.approx(result["test"]["checkpoint"], rel=1e-4)
    bundle = open_program(file).bundle
    assert bundle.data["inputs"] == {"name": "inputs", "shape": ["batch", "time"], "dtype": "int64"}
    assert "vocabulary" in bundle.dataset["preprocessing"]
    if stateful:
        assert (
            generate(file, prompt="fox", length=9, temperature=0.0)["text"]
            == (generate(run, prompt="fox", length=9, temperature=0.0)["text"])
        )
        assert evaluate(file)["loss"] == pytest.approx(evaluate(run)["loss"], rel=1e-4)
    else:
        with pytest.raises(RecipeError, match="--stateful"):
            generate(file)
        with pytest.raises(RecipeError, match="--stateful"):
            evaluate(file)


@pytest.mark.parametrize("format", ["safetensors", "torchscript", "onnx", pytest.param("pt2", marks=SLOW)])
def test_an_adaptive_softmax_is_exported(text: Path, tmp_path: Path, format: str) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    out = tmp_path / "run"
    model = {"cell": "adam-gru", "num_layers": 1, "language": {"embedding_size": 6, "cutoffs": [5, 9], "div_value": 2}}
    settings = recipe(text, model=model, task={"level": "word"}, train={"max_steps": 2})
    train(settings, out=out, accelerator="cpu")
    result = export(out, format=format, stateful=True, out=tmp_path / "file", check_accuracy=False)
    assert result["parity"]["max_abs"] < 1e-4


def test_a_language_model_is_no_plain_torch_layer(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="more than a torch layer"):
        export(run, format="safetensors", as_torch_lstm=True, out=tmp_path / "file")


def test_lines_are_scored_and_continued(run: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("the fox\n\nzebra 7\na dog runs home\n", encoding="utf-8-sig")
    out = tmp_path / "out.jsonl"
    with pytest.raises(DataError, match=r"row 2: characters outside the vocabulary of the model: '7'"):
        predict(run, [str(lines)], out=out, top=2)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["row"], row["tokens"]) for row in rows] == [(0, 7), (1, 0), (3, 15)]
    assert rows[1]["bits_per_character"] is None
    model = load_model(run).model
    tokens = load_model(run).checkpoint.data["dataset"]["preprocessing"]["vocabulary"]
    numbers = torch.tensor([[tokens.index(c) for c in "\nthe fox"]])
    with torch.no_grad():
        share = model(numbers)[0][0].double().log_softmax(1)
    bits = -float(share[:-1].gather(1, numbers[0, 1:].unsqueeze(1)).mean()) / math.log(2)
    assert rows[0]["bits_per_character"] == pytest.approx(bits, rel=1e-5)
    assert rows[0]["label"] == (tokens[int(share[-1].argmax())].strip(" ") or " ")
    assert rows[0]["probability"] == pytest.approx(float(share[-1].exp().max()), rel=1e-5)
    lines.write_text("the fox\na dog\n")
    predict(run, [str(lines)], format="csv", out=tmp_path / "out.csv", top=1)
    with (tmp_path / "out.csv").open() as file:
        table = list(csv.DictReader(file))
    assert float(table[0]["bits_per_character"]) == pytest.approx(bits, rel=1e-4)


def test_commands_that_know_no_text_refuse_it(run: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(run)])
    assert result.exit_code == 2
    assert "does not support model.language" in result.stderr


def test_the_parts_of_a_model_are_summed_up_without_its_cost(run: Path) -> None:
    result = CliRunner().invoke(app, ["summary", str(run / "recipe.yaml")])
    assert result.exit_code == 0
    assert "FLOPs" not in result.stdout
    count = sum(parameter.numel() for parameter in load_model(run).model.parameters())
    assert f"{count:,}" in result.stdout
    result = CliRunner().invoke(app, ["summary", str(run / "recipe.yaml"), "--measure"])
    assert result.exit_code == 2
    assert "--measure must be left out for it" in result.stderr


def test_a_dry_run_tells_time_and_backend(text: Path) -> None:
    found = dry_run(recipe(text))
    assert found["steps"] == 12
    assert found["train_samples"] == len(build_task(recipe(text)).load().train)
    assert found["backend"] in ("fused", "native")
