"""Train, evaluate, benchmark and export recurrent models whose cells carry momentum.

    from momentum_cli import LSTM, HeavyBall
    layer = LSTM(input_size=1, hidden_size=128, dynamics=HeavyBall(momentum=0.6, step_size=1.0))
    output, state = layer(x)

The commands are functions, which take the same options:

    from momentum_cli import train, evaluate, load
    result = train("digits", {"model.cell": "adam"})
    evaluate(result).metrics
    load(result).predict(image).labels

Names are imported when they are first used, so that the command line starts without torch.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing takes longer than the rest, and signals are not handled until it is done
if TYPE_CHECKING:
    from typing import Any

    from momentum_cli.api.bench import bench as bench
    from momentum_cli.api.callbacks import Callback as Callback
    from momentum_cli.api.evaluate import evaluate as evaluate
    from momentum_cli.api.export import export as export
    from momentum_cli.api.predict import predict as predict
    from momentum_cli.api.results import BenchResult as BenchResult
    from momentum_cli.api.results import DryRunResult as DryRunResult
    from momentum_cli.api.results import EvaluateResult as EvaluateResult
    from momentum_cli.api.results import ExportResult as ExportResult
    from momentum_cli.api.results import PredictResult as PredictResult
    from momentum_cli.api.results import TrainResult as TrainResult
    from momentum_cli.api.results import TuneResult as TuneResult
    from momentum_cli.api.train import dry_run as dry_run
    from momentum_cli.api.train import train as train
    from momentum_cli.api.tune import tune as tune
    from momentum_cli.dynamics.adam import Adam as Adam
    from momentum_cli.dynamics.heavy_ball import HeavyBall as HeavyBall
    from momentum_cli.dynamics.identity import Identity as Identity
    from momentum_cli.dynamics.nesterov import Nesterov as Nesterov
    from momentum_cli.dynamics.nesterov import ScheduledRestart as ScheduledRestart
    from momentum_cli.dynamics.rmsprop import RMSProp as RMSProp
    from momentum_cli.inference.trained_model import Predictions as Predictions
    from momentum_cli.inference.trained_model import TrainedModel as TrainedModel
    from momentum_cli.inference.trained_model import load as load
    from momentum_cli.layers.coupled import CoupledLSTM as CoupledLSTM
    from momentum_cli.layers.custom import CustomRNN as CustomRNN
    from momentum_cli.layers.lstm_gru_rnn import GRU as GRU
    from momentum_cli.layers.lstm_gru_rnn import LSTM as LSTM
    from momentum_cli.layers.lstm_gru_rnn import RNN as RNN
    from momentum_cli.layers.orthogonal import OrthogonalRNN as OrthogonalRNN
    from momentum_cli.layers.recurrent_state import RecurrentState as RecurrentState
    from momentum_cli.layers.short_names import SRDTRIV as SRDTRIV
    from momentum_cli.layers.short_names import SRGRU as SRGRU
    from momentum_cli.layers.short_names import SRLSTM as SRLSTM
    from momentum_cli.layers.short_names import SRRNN as SRRNN
    from momentum_cli.layers.short_names import AdamDTRIV as AdamDTRIV
    from momentum_cli.layers.short_names import AdamGRU as AdamGRU
    from momentum_cli.layers.short_names import AdamLSTM as AdamLSTM
    from momentum_cli.layers.short_names import AdamRNN as AdamRNN
    from momentum_cli.layers.short_names import MomentumDTRIV as MomentumDTRIV
    from momentum_cli.layers.short_names import MomentumGRU as MomentumGRU
    from momentum_cli.layers.short_names import MomentumLSTM as MomentumLSTM
    from momentum_cli.layers.short_names import MomentumRNN as MomentumRNN
    from momentum_cli.layers.short_names import NesterovDTRIV as NesterovDTRIV
    from momentum_cli.layers.short_names import NesterovGRU as NesterovGRU
    from momentum_cli.layers.short_names import NesterovLSTM as NesterovLSTM
    from momentum_cli.layers.short_names import NesterovRNN as NesterovRNN
    from momentum_cli.layers.short_names import RMSPropDTRIV as RMSPropDTRIV
    from momentum_cli.layers.short_names import RMSPropGRU as RMSPropGRU
    from momentum_cli.layers.short_names import RMSPropLSTM as RMSPropLSTM
    from momentum_cli.layers.short_names import RMSPropRNN as RMSPropRNN
    from momentum_cli.recipe.recipe import Recipe as Recipe
    from momentum_cli.recipe.recipe import load_recipe as load_recipe
    from momentum_cli.recurrence.protocol import Recurrence as Recurrence

__version__ = "0.1.0"

_MODULES = {
    "api.bench": ("bench",),
    "api.callbacks": ("Callback",),
    "api.evaluate": ("evaluate",),
    "api.export": ("export",),
    "api.predict": ("predict",),
    "api.results": tuple(
        f"{command}Result" for command in ("Train", "DryRun", "Evaluate", "Bench", "Tune", "Export", "Predict")
    ),
    "api.train": ("train", "dry_run"),
    "api.tune": ("tune",),
    "inference.trained_model": ("load", "TrainedModel", "Predictions"),
    "recipe.recipe": ("Recipe", "load_recipe"),
    "dynamics": ("Identity", "HeavyBall", "Nesterov", "ScheduledRestart", "RMSProp", "Adam"),
    "layers.lstm_gru_rnn": ("LSTM", "GRU", "RNN"),
    "layers.orthogonal": ("OrthogonalRNN",),
    "layers.short_names": tuple(
        f"{dynamics}{layer}"
        for layer in ("LSTM", "GRU", "RNN", "DTRIV")
        for dynamics in ("Momentum", "Nesterov", "SR", "RMSProp", "Adam")
    ),
    "layers.recurrent_state": ("RecurrentState",),
    "layers.coupled": ("CoupledLSTM",),
    "layers.custom": ("CustomRNN",),
    "recurrence.protocol": ("Recurrence",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605 - derived, so that it cannot disagree with what __getattr__ finds


def __getattr__(name: str) -> Any:
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(f"momentum_cli.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
