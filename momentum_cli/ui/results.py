"""Results of commands in words, on stdout."""

from __future__ import annotations

from typing import Any

from momentum_cli.messages import counted
from momentum_cli.ui.terminal import print_table
from momentum_cli.wording import printable


def print_facts(facts: dict[str, Any]) -> None:
    """Write a result to stdout, one line per fact; None is left out."""
    rows = [
        (name, f"{value:.6g}" if isinstance(value, float) else value)
        for name, value in facts.items()
        if value is not None
    ]
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(printable(f"{name.ljust(width)}  {value}"))


def print_dry_run(result: dict[str, Any]) -> None:
    """Write a result of `momentum_cli.training.train.dry_run` to stdout: the model, and the cost of its training."""
    from momentum_cli.wording import bytes_text, seconds_text, step_time_text

    steps, seconds, memory = result["steps"], result["estimated_seconds"], result["memory_bytes"]
    where = "of the process" if result["device"] == "cpu" else "on the device"
    print_facts(
        {
            "model": f"{result['cell']} on {result['task']}: {result['parameters']:,} parameters, "
            f"{result['backend']} on {result['device']}",
            "training data": counted(result["train_samples"], "sequence"),
            "steps": "until a budget in seconds ends them" if steps is None else f"{steps:,}",
            "speed": step_time_text(result["ms_per_step"]),
            "training time": None if seconds is None else f"about {seconds_text(seconds)}, without evaluations",
            "memory": None if memory is None else f"{bytes_text(memory)}, the peak {where}",
            "checked": "recipe, data, two steps, an evaluation, a checkpoint; nothing was kept",
        }
    )


def print_export(result: dict[str, Any]) -> None:
    """Write a result of `momentum_cli.formats.export` to stdout: the file, and how it agrees with its checkpoint."""
    from momentum_cli.wording import bytes_text, metric_text, seconds_text

    parity, test = result["parity"], result["test"]
    facts = {
        "file": result["file"],
        "size": bytes_text(result["bytes"]),
        "format": ", ".join(
            [result["format"], *(["stateful"] if result["stateful"] else []), *filter(None, [result.get("quantize")])]
        ),
        "model": f"{result['cell']} on {result['task']}",
        "checkpoint": result["checkpoint"],
        "parity": f"differs by {parity['max_abs']:.1e} absolute, {parity['max_rel']:.1e} relative at most; limit "
        f"{parity['tolerance']:g}",
    }
    if test is not None:
        own, theirs = (metric_text(test["metric"], test[key]) for key in ("file", "checkpoint"))
        facts[f"test {test['metric']}"] = f"{own}, of the checkpoint {theirs}; {counted(test['samples'], 'sequence')}"
    print_facts(facts | {"time": seconds_text(result["seconds"])})


def _measured(name: str, result: dict[str, Any], naive: dict[str, Any] | None) -> str:
    """`97.50 %  (95 %: 96.10 % to 98.60 %; naive 10.11 %)`."""
    from momentum_cli.wording import interval_text, metric_text

    beside = [interval_text(name, result["intervals"][name])]
    beside += [] if naive is None else [f"naive {metric_text(name, naive['metrics'][name])}"]
    text = metric_text(name, result["metrics"][name])
    return f"{text}  ({'; '.join(beside)})"


def _naive_text(baselines: list[dict[str, Any]]) -> str:
    """`last value; others: training mean (mse 12.31)`, by the headline metric."""
    from momentum_cli.wording import metric_text

    best, *others = baselines
    metric = next((name for name in best["metrics"] if name != "loss"), "loss")
    rest = ", ".join(f"{one['name']} ({metric} {metric_text(metric, one['metrics'][metric])})" for one in others)
    return f"{best['name']}; others: {rest}" if rest else str(best["name"])


def print_evaluation(result: dict[str, Any]) -> None:
    """Write a result of `momentum_cli.inference.evaluate.evaluate` to stdout: metrics, speed, one line per class."""
    from momentum_cli.wording import coverage_text

    naive = next(iter(result["baselines"]), None)
    facts = {
        "model": f"{result['cell']} on {result['task']}, step {result['step']}",
        "checkpoint": result["checkpoint"],
        "split": f"{result['split']}, {counted(result['samples'], 'sequence')}",
        **{name: _measured(name, result, naive) for name in result["metrics"]},
        **_attack_facts(result["attack"]),
        "naive": None if naive is None else _naive_text(result["baselines"]),
        **{f"{100 * one['level']:.4g} % interval": coverage_text(one) for one in result["coverage"]},
        "speed": f"{result['samples_per_second']:,.0f} samples/s, {result['backend']} on {result['device']}",
    }
    print_facts(facts)
    if result["classes"]:
        shares = ("precision", "recall", "f1")
        rows = [[row["label"], row["support"], *(_share(row[key]) for key in shares)] for row in result["classes"]]
        heads = ["class", "samples", *shares]
        if result["attack"]:
            heads.append("robust recall")
            for shown, row in zip(rows, result["attack"]["classes"], strict=True):
                shown.append(_share(row["recall"]))
        print()
        print_table(heads, rows)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _attack_facts(attack: dict[str, Any] | None) -> dict[str, str]:
    """Each metric under an attack, and the attack; {} without one."""
    if attack is None:
        return {}
    steps, starts = attack["steps"], attack["restarts"]
    settings = [f"epsilon {attack['epsilon']:g}", counted(steps, "step")]
    settings += [f"worst of {starts} starts"] if starts > 1 else []
    return {
        "attack": ", ".join([attack["name"], *settings]),
        **{f"robust {name}": _measured(name, attack, None) for name in attack["metrics"]},
    }
