"""ONNX files against the float64 definition, run by ONNX Runtime with numpy alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli import GRU, LSTM, RNN, Adam, HeavyBall, Identity, Nesterov, RMSProp, ScheduledRestart
from momentum_cli.formats.bundle import FORMAT, FORMAT_VERSION, Bundle
from momentum_cli.formats.description import state_entries
from momentum_cli.models.sequence import SequenceModel

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from momentum_cli.formats.onnx import format as onnx_format  # noqa: E402 - after the check that the extra is there

DYNAMICS = [
    Identity(),
    HeavyBall(0.6, 0.7),
    HeavyBall(0.0, 1.0),
    Nesterov(0.5),
    ScheduledRestart(0.5, 5),
    ScheduledRestart(0.5, 1),
    RMSProp(0.9, 1.2, 1e-6),
    Adam(0.6, 0.9, 1.2, 1e-6),
    Adam(0.6, 0.9, 1.2, 0.0),
]


def bundle_of(model: SequenceModel, stateful: bool) -> Bundle:
    """The parts of a bundle that the graph is made from."""
    out = ["batch", "time"] if model.output == "every" else ["batch"]
    return Bundle(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "export": {"format": "onnx", "stateful": stateful},
            "inputs": {"name": "inputs", "shape": model.inputs.shape, "dtype": "float32"},
            "outputs": {"name": "outputs", "shape": [*out, model.head.out_features], "dtype": "float32"},
            "state": state_entries(model) if stateful else [],
        }
    )


def session_of(model: SequenceModel, stateful: bool, path: Path) -> Any:
    onnx_format.write(model, bundle_of(model, stateful), path)
    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("dynamics", DYNAMICS, ids=str)
@pytest.mark.parametrize("kind", [LSTM, GRU, RNN], ids=lambda c: c.__name__)
def test_graph_equals_the_definition(kind: Any, dynamics: Any, tmp_path: Path) -> None:
    """Whole, bidirectional, without bias and of two layers at once; stateful in uneven chunks, one step included."""
    torch.manual_seed(0)
    for options, output, stateful in (
        ({"num_layers": 2, "bidirectional": True}, "last", False),
        ({"bias": False}, "every", False),
        ({"num_layers": 2}, "every", True),
    ):
        model = SequenceModel(kind(3, 5, dynamics=dynamics, backend="reference", **options), 4, output)  # type: ignore[arg-type]
        model.eval().requires_grad_(False)
        reference = copy.deepcopy(model).double()
        session = session_of(model, stateful, tmp_path / "model.onnx")
        for batch, steps in ((1, 1), (2, 70), (3, 33)):
            x = torch.randn(batch, steps, 3)
            expected, state = reference(x.double())
            if not stateful:
                (outputs,) = session.run(None, {"inputs": x.numpy()})
                after: list[np.ndarray] = []
            else:
                names = [value.name for value in session.get_inputs()[1:]]
                assert names == [f"state_in_{name}" for name in model.layer.state_names]
                after = [s.float().numpy() if s.is_floating_point() else s.numpy() for s in model.zero_state(batch)]
                pieces = []
                for part in x.split([1] * min(steps, 2) + ([steps - 2] if steps > 2 else []), dim=1):
                    piece, *after = session.run(None, {"inputs": part.numpy(), **dict(zip(names, after, strict=True))})
                    pieces.append(piece)
                outputs = np.concatenate(pieces, 1)
            assert outputs.shape == expected.shape
            np.testing.assert_allclose(outputs, expected, atol=2e-5, rtol=1e-4)
            for got, want in zip(after, state if stateful else (), strict=True):
                assert got.shape == want.shape
                np.testing.assert_allclose(got, want, atol=2e-5, rtol=1e-4)


def test_linear_dynamics_are_ordinary_nodes(tmp_path: Path) -> None:
    def kinds(dynamics: Any) -> list[str]:
        model = SequenceModel(LSTM(3, 5, dynamics=dynamics), 4).eval().requires_grad_(False)
        onnx_format.write(model, bundle_of(model, False), tmp_path / "model.onnx")
        return [node.op_type for node in onnx.load(str(tmp_path / "model.onnx")).graph.node]

    assert kinds(Identity()).count("LSTM") == 1
    assert "Scan" not in kinds(Identity())
    assert kinds(HeavyBall()).count("LSTM") == 1
    assert "LSTM" not in kinds(Adam())
    assert kinds(Adam()).count("Scan") == 1


@pytest.mark.parametrize("dynamics", [HeavyBall(0.999), Nesterov(), ScheduledRestart(1.0, 7)], ids=str)
def test_long_sequences_stay_exact(dynamics: Any, tmp_path: Path) -> None:
    """The filter of 5,000 steps, through an RNN with identity weights, against a loop in float64."""
    steps = 5000
    model = SequenceModel(RNN(1, 1, nonlinearity="relu", bias=False, dynamics=dynamics), 1, "every").eval()
    with torch.no_grad():
        for name, value in (("layer.weight_ih_l0", 1.0), ("layer.weight_hh_l0", 0.0), ("head.weight", 1.0)):
            model.get_parameter(name).fill_(value)
        model.head.bias.zero_()
    x = torch.rand(1, steps, 1)
    session = session_of(model.requires_grad_(False), False, tmp_path / "model.onnx")
    outputs = session.run(None, {"inputs": x.numpy()})[0][0, :, 0]
    velocity, expected = 0.0, []
    for t in range(1, steps + 1):
        k = (t - 1) % 7 + 1 if isinstance(dynamics, ScheduledRestart) else t
        decay = dynamics.momentum if isinstance(dynamics, HeavyBall) else (k - 1) / (k + 2)
        velocity = decay * velocity + dynamics.step_size * float(x[0, t - 1, 0])
        expected.append(velocity)
    np.testing.assert_allclose(outputs, expected, rtol=2e-5)


def test_sequences_at_different_steps_share_a_batch(tmp_path: Path) -> None:
    """The step number k is a state of each sequence."""
    torch.manual_seed(1)
    model = SequenceModel(LSTM(2, 3, dynamics=ScheduledRestart(1.0, 4)), 2).eval().requires_grad_(False)
    session = session_of(model, True, tmp_path / "model.onnx")
    x = torch.randn(2, 9, 2)
    states = []
    for row, seen in ((0, 3), (1, 6)):
        states.append(model(x[row : row + 1, :seen])[1])
    together = tuple(torch.cat(pair, 1) for pair in zip(*states, strict=True))
    names = [value.name for value in session.get_inputs()[1:]]
    feed = {name: tensor.numpy() for name, tensor in zip(names, together, strict=True)}
    outputs, *after = session.run(None, {"inputs": x[:, :2].numpy(), **feed})
    expected, state = model(x[:, :2], None, together)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert after[-1].tolist() == state[-1].tolist() == [[5, 8]]


def test_file_is_a_checked_model_of_a_fixed_opset(tmp_path: Path) -> None:
    model = SequenceModel(GRU(3, 5), 4).eval().requires_grad_(False)
    onnx_format.write(model, bundle_of(model, True), tmp_path / "model.onnx")
    proto = onnx.load(str(tmp_path / "model.onnx"))
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == 17
    assert json.loads(proto.metadata_props[0].value)["format"] == FORMAT
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in proto.graph.input]
    assert shapes == [["batch", "time", 3], [1, "batch", 5], [1, "batch", 4]]


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from momentum_cli.errors import RecipeError

    monkeypatch.setitem(sys.modules, "onnx", None)
    model = SequenceModel(GRU(3, 5), 4).eval()
    with pytest.raises(RecipeError, match=r"pip install 'momentumrnn\[export\]'"):
        onnx_format.write(model, bundle_of(model, True), tmp_path / "model.onnx")
