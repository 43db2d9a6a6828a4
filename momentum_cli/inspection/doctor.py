"""The machine: versions, devices, backends, data sets and optional packages. Nothing is changed."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from momentum_cli import __version__, allocator
from momentum_cli.machine import cpu_name, package_version, usable_cores
from momentum_cli.messages import counted
from momentum_cli.ui import terminal

# Features that need an extra; a test compares the names with those of the package.
_WITHOUT = {
    "export": "cannot export, evaluate or predict ONNX files",
    "docs": "cannot build the documentation",
    "optimizers": "cannot use optimizers pytorch_optimizer:NAME",
    "translation": "cannot train, evaluate or use translation models",
    "tune": "cannot search with tune",
    "cluster": "cannot run benchmarks and searches on Dask workers",
    "tensorboard": "cannot log to TensorBoard",
    "mlflow": "cannot log to MLflow",
    "wandb": "cannot log to Weights & Biases",
    "trackio": "cannot log to trackio",
    "examples": "cannot run the examples with Lightning, Accelerate and scikit-learn",
    "dev": "cannot run the tests",
}

REQUIRED = (
    "torch",
    "torchvision",
    "torchaudio",
    "lightning-fabric",
    "safetensors",
    "soundfile",
    "numpy",
    "pyarrow",
    "matplotlib",
    "typer",
    "rich",
    "pydantic",
    "pyyaml",
)


def examine(data_dir: Path | None = None) -> dict[str, Any]:
    """Return a JSON-able description of the installation and the machine.

    Args:
        data_dir: Folder of data sets; None for the default one.
    """
    return {
        "momentumrnn": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in REQUIRED},
        "devices": _devices(),
        "threads": _threads(),
        "memory": {"kept": allocator.kept(), "reason": allocator.reason()},
        "backends": _backends(),
        "data": _data(data_dir),
        "extras": _extras(),
    }


def _devices() -> list[dict[str, Any]]:
    import torch

    devices: list[dict[str, Any]] = [{"name": "cpu", "model": cpu_name(), "cores": usable_cores()}]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices.append({"name": f"cuda:{index}", "model": properties.name, "memory_bytes": properties.total_memory})
    return devices


def _threads() -> dict[str, Any]:
    import torch

    variables = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    return {"torch": torch.get_num_threads(), "torch_interop": torch.get_num_interop_threads(), **variables}


def _backends() -> dict[str, Any]:
    """Return the support of every backend for every dynamics in front of an LSTM, on every device."""
    import torch

    from momentum_cli.dynamics import DYNAMICS
    from momentum_cli.kernels import BACKENDS
    from momentum_cli.kernels.backend import Work
    from momentum_cli.recurrence import RECURRENCES

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    report: dict[str, Any] = {}
    for name, backend in BACKENDS.items():
        report[name] = {
            device: {
                dynamics: backend.supports(Work(RECURRENCES["lstm"], cls(), 1, torch.device(device), torch.float32))
                for dynamics, cls in DYNAMICS.items()
            }
            for device in devices
        }
        status = getattr(backend, "status", None)
        if status is not None:
            report[name]["status"] = status()
    return report


def _data(data_dir: Path | None) -> dict[str, Any]:
    from momentum_cli.data import TASKS, default_data_dir

    folder = data_dir or default_data_dir()
    tasks = {name: task.availability(folder) for name, task in TASKS.items()}
    return {"folder": str(folder), "exists": folder.is_dir(), "tasks": tasks}


def _extras() -> dict[str, Any]:
    """Return the optional dependencies of the package, and how to install the missing ones."""
    try:
        requirements = importlib.metadata.requires("momentumrnn") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    extras: dict[str, Any] = {}
    for requirement in requirements:
        text, _, condition = requirement.partition(";")
        extra = condition.partition("extra ==")[2].strip().strip("\"'")
        if not extra:
            continue
        name = text.strip()
        for end in "<>=!~[ (":
            name = name.partition(end)[0]
        entry = extras.setdefault(extra, {"packages": {}, "install": f'pip install "momentumrnn[{extra}]"'})
        entry["packages"][name] = package_version(name)
    return extras


def print_report(report: dict[str, Any]) -> None:
    """Print a report of `examine`, with the cost and the remedy of everything missing."""
    found = {name: version for name, version in report["packages"].items() if version is not None}
    rows: list[tuple[str, Any]] = [
        ("momentumrnn", report["momentumrnn"]),
        ("python", f"{report['python']['version']} ({report['python']['executable']})"),
        ("platform", report["platform"]),
        ("packages", ", ".join(f"{name} {version}" for name, version in found.items())),
    ]
    rows += [
        (name, "MISSING: parts of momentumrnn end with an error; pip install --force-reinstall momentumrnn")
        for name in report["packages"].keys() - found.keys()
    ]
    for device in report["devices"]:
        memory = f", {device['memory_bytes'] / 2**30:.1f} GiB" if "memory_bytes" in device else ""
        cores = f", {counted(device['cores'], 'core')}" if "cores" in device else ""
        rows.append((device["name"], f"{device['model']}{cores}{memory}"))
    rows.append(("threads", ", ".join(f"{name} {value}" for name, value in report["threads"].items())))
    rows.append(("memory", _memory_text(report["memory"])))
    rows += [(f"backend {name}", _backend_text(answers)) for name, answers in report["backends"].items()]
    there = "" if report["data"]["exists"] else " (does not exist yet; the first download creates it)"
    rows.append(("data folder", report["data"]["folder"] + there))
    states: dict[str, list[str]] = {}
    for task, state in report["data"]["tasks"].items():
        states.setdefault(state, []).append(task)
    rows.append(("data", "\n".join(f"{', '.join(tasks)}: {state}" for state, tasks in states.items())))
    rows += [(f"extra {extra}", _extra_text(extra, entry)) for extra, entry in report["extras"].items()]
    terminal.print_table(["what", "state"], rows)


def _memory_text(memory: dict[str, Any]) -> str:
    if memory["kept"]:
        return "kept between the steps of commands (--release-memory returns it)"
    because = f": {memory['reason']}" if memory["reason"] else ""
    return f"returned to the system when it is freed{because}, which slows large layers of torch down"


def _backend_text(answers: dict[str, Any]) -> str:
    status = answers.get("status") or {}
    if status.get("available") is False:
        return f"not available: {status['reason']}\nwithout it: {status['cost']}"
    lines = []
    for device, reasons in answers.items():
        if device == "status":
            continue
        able = [dynamics for dynamics, reason in reasons.items() if reason is None]
        lines.append(f"{device}: {', '.join(able) or 'nothing'}")
        refused: dict[str, list[str]] = {}
        for dynamics, reason in reasons.items():
            if reason is not None:
                refused.setdefault(reason, []).append(dynamics)
        lines += [f"not {', '.join(names)}: {reason}" for reason, names in refused.items()]
    said = {name: value for name, value in status.items() if name != "available" and value is not None}
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in said.items())])


def _extra_text(extra: str, entry: dict[str, Any]) -> str:
    missing = [name for name, version in entry["packages"].items() if version is None]
    if not missing:
        return "installed"
    cost = f": {_WITHOUT[extra]}" if extra in _WITHOUT else ""
    return f"missing {', '.join(missing)}{cost}\n{entry['install']}"
