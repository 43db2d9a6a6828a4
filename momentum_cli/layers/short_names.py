"""Short names, `MomentumLSTM` and the like, for a layer with one of the dynamics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.nesterov import Nesterov, ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.rmsprop import RMSProp
from momentum_cli.layers.lstm_gru_rnn import GRU, LSTM, RNN
from momentum_cli.layers.orthogonal import OrthogonalRNN
from momentum_cli.layers.recurrent import RecurrentLayer

_Layer = TypeVar("_Layer", bound=RecurrentLayer)


def short_name(layer: type[_Layer], dynamics: type[Dynamics], name: str) -> Callable[..., _Layer]:
    """Return a function that builds ``layer`` with ``dynamics`` from the keywords of both."""

    def build(*args: Any, **options: Any) -> _Layer:
        fields = dynamics.__dataclass_fields__  # type: ignore[attr-defined]
        own = {key: options.pop(key) for key in list(options) if key in fields}
        return cast(_Layer, cast(Any, layer)(*args, dynamics=dynamics(**own), **options))

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"Build `{layer.__name__}` with `{dynamics.__name__}`; takes the arguments of both."
    return build


MomentumLSTM = short_name(LSTM, HeavyBall, "MomentumLSTM")
NesterovLSTM = short_name(LSTM, Nesterov, "NesterovLSTM")
SRLSTM = short_name(LSTM, ScheduledRestart, "SRLSTM")
RMSPropLSTM = short_name(LSTM, RMSProp, "RMSPropLSTM")
AdamLSTM = short_name(LSTM, Adam, "AdamLSTM")
MomentumGRU = short_name(GRU, HeavyBall, "MomentumGRU")
NesterovGRU = short_name(GRU, Nesterov, "NesterovGRU")
SRGRU = short_name(GRU, ScheduledRestart, "SRGRU")
RMSPropGRU = short_name(GRU, RMSProp, "RMSPropGRU")
AdamGRU = short_name(GRU, Adam, "AdamGRU")
MomentumRNN = short_name(RNN, HeavyBall, "MomentumRNN")
NesterovRNN = short_name(RNN, Nesterov, "NesterovRNN")
SRRNN = short_name(RNN, ScheduledRestart, "SRRNN")
RMSPropRNN = short_name(RNN, RMSProp, "RMSPropRNN")
AdamRNN = short_name(RNN, Adam, "AdamRNN")


MomentumDTRIV = short_name(OrthogonalRNN, HeavyBall, "MomentumDTRIV")
NesterovDTRIV = short_name(OrthogonalRNN, Nesterov, "NesterovDTRIV")
SRDTRIV = short_name(OrthogonalRNN, ScheduledRestart, "SRDTRIV")
RMSPropDTRIV = short_name(OrthogonalRNN, RMSProp, "RMSPropDTRIV")
AdamDTRIV = short_name(OrthogonalRNN, Adam, "AdamDTRIV")
