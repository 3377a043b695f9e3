"""What a model that nobody searched for reaches on the same rows: the figure to judge the champion by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from components.prepared import Arrays
from nas_core.errors import unknown
from nas_core.types import Port, Signature

_MOST_CATEGORIES = 255
_PIXELS = 1024
_STRENGTHS = {"image": 0.01, "text": 10.0, "audio": 3.0}
"""Inverse strengths of the L2 penalty: strong for thousands of pixels that say much the same, weak for rare words."""

_FRAME, _BANDS = 256, 32
_QUIET = 1e-6
"""The power below which a band counts as silent: that of the rounding of 16-bit samples, and some."""


class Baseline(NamedTuple):
    """A model's name, and its test accuracy as a share of 1."""

    name: str
    test_accuracy: float


def baseline(kind: str, signature: Signature, train: Arrays, test: Arrays, seed: int) -> Baseline:
    """Train the baseline for tasks of `kind` on `train` and measure it on `test`.

    For tables that is scikit-learn's gradient-boosted trees with default settings; for images, texts and clips a
    logistic regression on pixels (larger images made coarser), tf-idf weights of words, and the mean and spread of log
    power in 32 bands.
    """
    makers: Mapping[str, Callable[[Port, np.ndarray], np.ndarray]] = {"image": _pixels, "text": _words, "audio": _bands}
    if kind == "tabular":
        return _trees(signature, train, test, seed)
    if kind not in makers:
        raise unknown("task.kind", kind, ["tabular", *makers])
    port, features = signature.inputs[0], makers[kind]
    weigh = TfidfTransformer(sublinear_tf=True) if kind == "text" else StandardScaler()
    model = make_pipeline(weigh, LogisticRegression(C=_STRENGTHS[kind], max_iter=2000, tol=1e-3))
    name = {"image": "pixels", "text": "tf-idf words", "audio": "log band powers"}[kind]
    model.fit(features(port, train[0][0]), train[1])
    return Baseline(f"logistic regression on {name}", _accuracy(model, features(port, test[0][0]), test[1]))


def _trees(signature: Signature, train: Arrays, test: Arrays, seed: int) -> Baseline:
    """Categorical columns are used as such, unless they have more categories than the trees can bin."""
    categorical = [
        0 < port.classes <= _MOST_CATEGORIES for port in signature.inputs for _ in range(math.prod(port.shape))
    ]
    model = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed)
    model.fit(_table(train[0]), train[1])
    return Baseline("HistGradientBoostingClassifier", _accuracy(model, _table(test[0]), test[1]))


def _accuracy(model: HistGradientBoostingClassifier | Pipeline, features: Any, target: np.ndarray) -> float:
    return float(np.mean(model.predict(features) == target))


def _table(inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return all inputs as columns of one table, (rows, columns)."""
    return np.column_stack([array.reshape(len(array), -1) for array in inputs])


def _pixels(_: Port, images: np.ndarray) -> np.ndarray:
    """Return images (rows, channels, height, width) as rows of at most 1,024 pixels a channel, by leaving some out."""
    step = math.ceil(math.sqrt(images.shape[2] * images.shape[3] / _PIXELS))
    return images[:, :, ::step, ::step].reshape(len(images), -1)


def _words(port: Port, texts: np.ndarray) -> Any:
    """Return how often each row of indices (rows, length) holds each word; 0 is no word."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(np.arange(len(texts)), texts.shape[1])
    counts = csr_matrix((np.ones(texts.size), (rows, texts.ravel())), shape=(len(texts), port.classes))
    return counts[:, 1:]


def _bands(_: Port, waves: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation over time of the log power in 32 bands, for waves (rows, samples)."""
    frames = np.lib.stride_tricks.sliding_window_view(waves, min(_FRAME, waves.shape[1]), axis=1)[:, :: _FRAME // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[2]), axis=2)) ** 2
    edges = np.linspace(0, power.shape[2], min(_BANDS, power.shape[2]) + 1).astype(int)[:-1]
    logs = np.log(np.add.reduceat(power, edges, axis=2) + _QUIET)
    return np.column_stack([logs.mean(axis=1), logs.std(axis=1)])
