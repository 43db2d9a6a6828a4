"""Training in `gpu.py`: one epoch of permuted MNIST, one step in three ways, and the command `train`."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_clock import Contender, clock, interleave, middle, problem_of, ratios
from gpu_steps import CELLS
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]


class Classifier(nn.Module):
    """A cell over pixels (T, B, 1), and a linear layer on its last output."""

    def __init__(self, cell: str, hidden: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = CELLS[cell](1, hidden)
        self.layer.reset_parameters("paper")
        self.head = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 10)."""
        scores: Tensor = self.head(self.layer(x)[0][-1])
        return scores


class Training:
    """The authors' training of a classifier on one batch, whose tensors may be overwritten between steps.

    Args:
        cell: Key of `CELLS`.
        hidden: N.
        x: (T, B, 1).
        classes: (B,).
        compiler: A backend of `torch.compile`, or None.
    """

    def __init__(self, cell: str, hidden: int, x: Tensor, classes: Tensor, compiler: str | None = None) -> None:
        self.model = Classifier(cell, hidden).to(x.device)
        self._run: Any = self.model if compiler is None else torch.compile(self.model, backend=compiler)
        self._x, self._classes = x, classes
        self._parameters = list(self.model.parameters())
        # `capturable` keeps the count of steps on the device, which a graph needs.
        on_card = x.device.type == "cuda"
        self._optimizer = torch.optim.RMSprop(self._parameters, lr=1e-3, alpha=0.9, foreach=True, capturable=on_card)
        self._before = [parameter.detach().clone() for parameter in self._parameters]
        self.loss = torch.zeros((), device=x.device)

    def step(self) -> None:
        """Make one step; `loss` is that before it."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(self._run(self._x), self._classes)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0, foreach=True)
        self._optimizer.step()
        self.loss.copy_(loss.detach())

    def restart(self) -> None:
        """Go back to the first parameters, and zero what the optimizer keeps; in place, as a graph needs it."""
        with torch.no_grad():
            for parameter, before in zip(self._parameters, self._before, strict=True):
                parameter.copy_(before)
            for state in self._optimizer.state.values():
                for tensor in state.values():
                    tensor.zero_()

    def losses(self, count: int, step: Any = None) -> list[float]:
        """Return the losses of some steps from the start."""
        self.restart()
        found = []
        for _ in range(count):
            (step or self.step)()
            found.append(float(self.loss))
        return found


def training_step(settings: Any, limit: float) -> Iterator[dict[str, Any]]:
    """Time a whole step at N = 128 eagerly, compiled and as a CUDA graph, and compare the losses of six steps."""
    steps, batch, hidden = (3, 2, 4) if settings.rehearsal else (784, 128, 128)
    on = clock(settings.device)
    torch.backends.cudnn.allow_tf32 = False
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(steps, batch, 1, generator=generator).to(settings.device)
    classes = torch.randint(10, (batch,), generator=generator).to(settings.device)
    for cell in ("momentum", "adam"):
        try:
            yield from ways(settings, on, cell, hidden, x, classes, limit / 8)
        except Exception as error:  # a cell that fails must not cost the others
            yield {"cell": cell, "problem": problem_of(error)}
            on.wait()


def ways(
    settings: Any, on: Any, cell: str, hidden: int, x: Tensor, classes: Tensor, seconds: float
) -> Iterator[dict[str, Any]]:
    """Time the three ways of one cell."""
    eager = Training(cell, hidden, x, classes)
    expected = eager.losses(6)
    eager_times = Contender(on, eager.step)
    problems = {"eager": "", "graph": eager_times.no_graph, "compiled": ""}
    differences: dict[str, float | None] = {"eager": largest(eager.losses(6), expected), "graph": None}
    if eager_times.replay is not None:
        differences["graph"] = largest(eager.losses(6, eager_times.replay), expected)
    contenders = {"eager": eager_times}
    try:
        compiled = Training(cell, hidden, x, classes, "aot_eager" if settings.rehearsal else "inductor")
        differences["compiled"] = largest(compiled.losses(6), expected)
        contenders["compiled"] = Contender(on, compiled.step)
    except Exception as error:  # whatever a compiler raises is a result
        problems["compiled"] = problem_of(error)
    interleave(contenders, 2 if settings.rehearsal else 20, seconds)
    times = {
        "eager": eager_times.wall,
        "graph": eager_times.device,
        "compiled": contenders["compiled"].wall if "compiled" in contenders else [],
    }
    for way, own in times.items():
        yield {
            "cell": cell,
            "way": way,
            "ms": middle(own),
            "x eager": middle(ratios(own, eager_times.wall)),
            "host ms": middle(contenders[way].host) if way in contenders else None,
            "six losses differ by": differences.get(way),
            "problem": problems[way],
        }


def largest(found: list[float], expected: list[float]) -> float:
    """Return the largest difference."""
    return max(abs(a - b) for a, b in zip(found, expected, strict=True))


def epoch(settings: Any, limit: float) -> Iterator[dict[str, Any]]:
    """Train an epoch at N = 128 on all 60,000 images, and compare its first losses with those of the CPU."""
    if settings.data is None and not settings.rehearsal:
        yield {"skipped": "permuted MNIST needs --data with MNIST/raw"}
        return
    hidden, batch, fewer = (4, 4, 2) if settings.rehearsal else (128, 128, 16)
    images, classes, test_images, test_classes = pixels(settings)
    torch.backends.cudnn.allow_tf32 = False
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).split(batch)
    order = order[: len(images) // batch]  # whole batches
    for cell in ("momentum", "adam", "lstm"):
        try:
            yield epoch_of(settings, cell, hidden, fewer, order, (images, classes, test_images, test_classes))
        except Exception as error:  # a cell that fails must not cost the others
            yield {"cell": cell, "problem": problem_of(error)}
            clock(settings.device).wait()


def epoch_of(
    settings: Any, cell: str, hidden: int, fewer: int, order: Any, data: tuple[Tensor, Tensor, Tensor, Tensor]
) -> dict[str, Any]:
    """Train an epoch of one cell."""
    images, classes, test_images, test_classes = data
    batch = len(order[0])
    pieces = [group[:fewer] for group in order[:3]]
    here, there = (train_on(cell, hidden, images, classes, pieces, d)[1] for d in (settings.device, "cpu"))
    train_on(cell, hidden, images, classes, order[:2], settings.device)  # compiles for this batch size
    training, losses, seconds = train_on(cell, hidden, images, classes, order, settings.device)
    return {
        "cell": cell,
        "backend": training.model.layer.chosen_backend,
        "epoch s": seconds,
        "samples/s": len(losses) * batch / seconds,
        "ms a step": seconds / len(losses) * 1e3,
        "first loss": losses[0],
        "last loss": losses[-1],
        "test accuracy": accuracy(training.model, test_images, test_classes, settings.device),
        "three losses differ from the CPU's by": largest(here, there),
    }


def pixels(settings: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return train and test images (n, T) uint8 with their classes (n,); a few small ones in a rehearsal."""
    from momentum_cli.data.mnist import PermutedMNIST

    if settings.rehearsal:
        images = torch.randint(256, (12, 5), dtype=torch.uint8)
        return images, torch.arange(12) % 10, images, torch.arange(12) % 10
    data = PermutedMNIST(validation="none").load(Path(settings.data))
    return data.train.inputs.squeeze(2), data.train.targets, data.test.inputs.squeeze(2), data.test.targets


def as_input(images: Tensor) -> Tensor:
    """Return (B, T) bytes as (T, B, 1) in [0, 1]."""
    return images.t().unsqueeze(2).float() / 255


def train_on(
    cell: str, hidden: int, images: Tensor, classes: Tensor, groups: Any, device: str
) -> tuple[Training, list[float], float]:
    """Train on groups of equal size; return the training, its losses and its seconds."""
    on = clock(device)
    x = as_input(images[groups[0]]).to(device).contiguous()
    y = classes[groups[0]].to(device)
    training = Training(cell, hidden, x, y)
    images, classes, losses = images.to(device), classes.to(device), []
    on.wait()
    start = time.perf_counter()
    for group in groups:
        place = group.to(device, non_blocking=True)
        x.copy_(as_input(images[place]))
        y.copy_(classes[place])
        training.step()
        losses.append(training.loss.clone())
    on.wait()
    return training, torch.stack(losses).tolist(), time.perf_counter() - start


def accuracy(model: nn.Module, images: Tensor, classes: Tensor, device: str) -> float:
    """Return the fraction of images that are classified correctly."""
    right = 0
    with torch.inference_mode():
        for group in torch.arange(len(images)).split(1000):
            found = model(as_input(images[group].to(device))).argmax(1)
            right += int((found == classes[group].to(device)).sum())
    return right / len(images)


def train_command(settings: Any, limit: float) -> Iterator[dict[str, Any]]:
    """Run an epoch of `momentumrnn train` for each cell, with the share of the time that the card was in use."""
    recipe, options = "pmnist", ["train.epochs=1", "task.validation=none", "target=null"]
    if settings.rehearsal:
        recipe, options = "digits", ["train.max_steps=2", "model.hidden_size=4", "target=null"]
    elif settings.data is None:
        yield {"skipped": "permuted MNIST needs --data with MNIST/raw"}
        return
    data = [] if settings.data is None else ["--data-dir", settings.data]
    end = time.monotonic() + limit
    for cell in ("momentum", "adam", "lstm"):
        out = Path(tempfile.mkdtemp())
        command = [sys.executable, "-m", "momentum_cli", "train", recipe, f"model.cell={cell}", *options, *data]
        command += ["--out", str(out / "run"), "--accelerator", settings.device, "--json"]
        try:
            with Usage(settings.device) as usage:
                left = max(end - time.monotonic(), 1.0)
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            yield {"cell": cell, "problem": f"no result after {left:.0f} s"}
            return
        finally:
            shutil.rmtree(out, ignore_errors=True)
        if done.returncode != 0:
            yield {"cell": cell, "problem": (done.stdout + done.stderr)[-300:]}
            continue
        result = json.loads(done.stdout)
        yield {
            "cell": cell,
            "steps": result["steps"],
            "samples": result["samples"],
            "train s": result["train_seconds"],
            "samples/s": result["samples"] / result["train_seconds"],
            "test loss": result["test"]["loss"],
            "card in use, median %": usage.median,
        }


class Usage:
    """Share of the time in which kernels ran, as the driver reports it, sampled in the background while inside."""

    def __init__(self, device: str) -> None:
        self._command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        self._found: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._watched = device == "cuda" and shutil.which("nvidia-smi") is not None

    @property
    def median(self) -> float | None:
        """Median of the samples in which the card was in use at all, in percent."""
        return statistics.median(used) if (used := [value for value in self._found if value > 0]) else None

    def _sample(self) -> None:
        while not self._end.wait(0.25):
            shown = subprocess.run(self._command, capture_output=True, text=True, check=False).stdout.split()
            self._found += [float(shown[0])] if shown and shown[0].isdigit() else []

    def __enter__(self) -> Usage:
        """Start."""
        if self._watched:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._end.set()
        if self._watched:
            self._thread.join()
