"""Recurrences: the sequential part of a cell, which takes a driven input and knows nothing about momentum.

Axes: B batch, H hidden, G gates * H. Definitions, names and gate order are those of `torch.nn` (LSTM i, f, g, o;
GRU r, z, n), so parameters can be exchanged with it.
"""

from __future__ import annotations

from momentum_cli.recurrence.gru import GRU
from momentum_cli.recurrence.lstm import LSTM
from momentum_cli.recurrence.modrelu import MODRELU
from momentum_cli.recurrence.protocol import Recurrence
from momentum_cli.recurrence.rnn import RNN, RNN_RELU

RECURRENCES: dict[str, Recurrence] = {recurrence.name: recurrence for recurrence in (LSTM, GRU, RNN, RNN_RELU, MODRELU)}
