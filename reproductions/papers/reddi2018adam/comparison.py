"""What Figure 2's tables say: Adam against AMSGrad over the grid of settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, over_seeds, paired_difference
from reproductions.harness.tables import by_seed, select


def final_losses(table: Any, quantity: str, step: int | None = None) -> dict[str, np.ndarray]:
    """Return method -> (learning rates, beta2s, seeds) at a step, the last unless given."""
    rows = select(table, quantity=quantity)
    rows = rows[rows.step == (rows.step.max() if step is None else step)]
    return {
        arm: by_seed(rows[rows.arm == arm], "learning_rate", "beta2") for arm in ("adam", "amsgrad")
    }


def best(train: np.ndarray) -> tuple[int, int]:
    """Return the setting of least mean training loss over seeds; one that diverged never wins."""
    mean = np.where(np.isfinite(train).all(-1), train.mean(-1), np.inf)
    return tuple(int(k) for k in np.unravel_index(np.argmin(mean), mean.shape))  # type: ignore


def advantage(table: Any, quantity: str, step: int | None = None) -> Metric:
    """Return Adam minus AMSGrad, each at its best setting by training loss at that step."""
    train, shown = final_losses(table, "train_loss", step), final_losses(table, quantity, step)
    own = {arm: shown[arm][best(train[arm])] for arm in train}
    return paired_difference(own["adam"], own["amsgrad"])


def logistic(table: Any) -> dict[str, Metric]:
    """Measure Figure 2, top left and centre."""
    found = {
        "logistic_train_advantage": advantage(table, "train_loss"),
        "logistic_test_advantage": advantage(table, "test_loss"),
        "logistic_sensitivity_gap": _sensitivity_gap(table),
    }
    if 2000 in set(table.step):
        found["logistic_train_advantage_2000"] = advantage(table, "train_loss", 2000)
    return found


def _sensitivity_gap(table: Any) -> Metric:
    losses = final_losses(table, "train_loss")
    spread = {arm: np.log(values).std(axis=(0, 1)) for arm, values in losses.items()}
    return paired_difference(spread["adam"], spread["amsgrad"])


def network(table: Any) -> dict[str, Metric]:
    """Measure Figure 2, top right."""
    losses = final_losses(table, "train_loss")
    matched = {arm: np.log(values).mean(axis=(0, 1)) for arm, values in losses.items()}
    found = {
        "network_train_advantage": advantage(table, "train_loss"),
        "network_matched_advantage": paired_difference(matched["adam"], matched["amsgrad"]),
    }
    if 1000 in set(table.step):
        found["network_train_advantage_1000"] = advantage(table, "train_loss", 1000)
    return found


def variance_ratio(*tables: Any) -> dict[str, Metric]:
    """Measure whether the method or the step size explains more of the log training loss."""
    ratios = []
    for table in tables:
        losses = final_losses(table, "train_loss")
        log = np.log(np.stack([losses["adam"], losses["amsgrad"]]))  # method, lr, beta2, seed
        method, rate = log.mean(axis=2), log.mean(axis=2)
        ratios.append(method.mean(axis=1).var(axis=0) / rate.mean(axis=0).var(axis=0))
    means = [values.mean() for values in ratios]
    return {"method_to_step_size_variance": over_seeds(ratios[int(np.argmax(means))])}


def cifarnet(table: Any) -> dict[str, Metric]:
    """Measure Figure 2, bottom."""
    return {
        "cifarnet_train_advantage": advantage(table, "train_loss"),
        "cifarnet_test_advantage": advantage(table, "test_loss"),
    }
