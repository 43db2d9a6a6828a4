"""Experiment trackers by their names in `train.loggers`; each imports its package only when a run uses it."""

from __future__ import annotations

from momentum_cli.loggers.mlflow import MLflow
from momentum_cli.loggers.protocol import Logger
from momentum_cli.loggers.tensorboard import TensorBoard
from momentum_cli.loggers.trackio import Trackio
from momentum_cli.loggers.wandb import WeightsAndBiases

LOGGERS: dict[str, type[Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}
