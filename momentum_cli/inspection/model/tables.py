"""The tables of a summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from momentum_cli.messages import counted
from momentum_cli.ui import results, terminal
from momentum_cli.wording import batch_text, bytes_text


def print_summary(result: Mapping[str, Any]) -> None:
    """Write a summary to stdout.

    Args:
        result: The result of `momentum_cli.inspection.model.summary.summary`.
    """
    rows: list[list[Any]] = [
        [layer["name"], "x".join(map(str, layer["shape"])), f"{layer['parameters']:,}"] for layer in result["layers"]
    ]
    rows.append(["total", "", f"{result['parameters']:,}"])
    terminal.print_table(["parameter", "shape", "numbers"], rows, f"{result['cell']} on {result['task']}")
    terminal.print_lines("")
    rows = [[state["name"], "x".join(map(str, state["shape"])), state["bytes"]] for state in result["state"]]
    rows.append(["total", "", result["state_bytes"]])
    terminal.print_table(["state of one sequence", "shape", "bytes"], rows)
    terminal.print_lines("")
    flops, memory = result["flops"], result["memory"]
    facts = {
        "sizes": f"T = {result['length']}, B = {batch_text(result['batch_size'], result['batch_unit'])}, "
        f"D = {result['input_size']}, {counted(result['output_size'], 'output')}, {result['output']} step",
        "backend": f"{result['backend']} ({result['asked_backend']} requested), on the CPU",
    }
    if flops is not None and memory is not None:
        facts |= _cost(flops, memory)
    results.print_facts(facts)


def _cost(flops: Mapping[str, Any], memory: Mapping[str, Any]) -> dict[str, str]:
    facts = {
        "FLOPs per time step": f"{flops['time_step']:,} per sequence, forward",
        "FLOPs per training step": f"{flops['training_step']:.4g} (matrix products with weights only)",
        "memory of a training step": f"{bytes_text(memory['peak'])}, estimated",
        **{f"  {name}": bytes_text(memory[name]) for name in ("parameters", "gradients", "optimizer", "batch")},
        "  activations": f"{bytes_text(memory['activations'])} (by {memory['activations_from']})",
    }
    if "measured" in memory:
        measured = memory["measured"]
        facts["  measured"] = "not on this system" if measured is None else f"{bytes_text(measured)}, in a new process"
    return facts
