"""A momentum LSTM as a scikit-learn classifier: cross-validation, grid search and pipelines work with it.

pip install 'momentumrnn[examples]'
python examples/sklearn_estimator.py
"""

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted

from momentum_cli import LSTM, HeavyBall


class MomentumClassifier(ClassifierMixin, BaseEstimator):
    """Sequences to classes.

    Args:
        hidden_size: Units of the layer, >= 1.
        momentum: Of the filter, in [0, 1).
        lr: Learning rate, > 0.
        epochs: Passes over the data, >= 1.
        batch_size: Sequences per step, >= 1.
        seed: Of the initialisation and the order of the sequences.
    """

    def __init__(
        self,
        hidden_size: int = 32,
        momentum: float = 0.6,
        lr: float = 1e-2,
        epochs: int = 5,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        self.hidden_size = hidden_size
        self.momentum = momentum
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> "MomentumClassifier":  # noqa: N803 - scikit-learn's name
        """Train on sequences (n, T, D) and their classes (n,)."""
        self.classes_, numbers = np.unique(y, return_inverse=True)
        inputs, targets = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(numbers)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.layer_ = LSTM(
                inputs.shape[2], self.hidden_size, batch_first=True, dynamics=HeavyBall(momentum=self.momentum)
            )
            self.head_ = torch.nn.Linear(self.hidden_size, len(self.classes_))
            parameters = [*self.layer_.parameters(), *self.head_.parameters()]
            optimizer = torch.optim.RMSprop(parameters, lr=self.lr)
            for _ in range(self.epochs):
                for chosen in torch.randperm(len(inputs)).split(self.batch_size):
                    loss = torch.nn.functional.cross_entropy(self._logits(inputs[chosen]), targets[chosen])
                    optimizer.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                    optimizer.step()
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        """Return probabilities (n, classes) for sequences (n, T, D)."""
        check_is_fitted(self)
        with torch.no_grad():
            return self._logits(torch.as_tensor(X, dtype=torch.float32)).softmax(1).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        """Return classes (n,) for sequences (n, T, D)."""
        return self.classes_[self.predict_proba(X).argmax(1)]

    def _logits(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head_(self.layer_(inputs)[0][:, -1])


if __name__ == "__main__":
    digits = load_digits()
    search = GridSearchCV(MomentumClassifier(), {"momentum": [0.0, 0.6]}, cv=3)
    search.fit(digits.images / 16, digits.target)
    for options, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"{options}: accuracy {score:.3f}")
