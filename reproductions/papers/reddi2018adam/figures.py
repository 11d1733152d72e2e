"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import Metric
from reproductions.harness.tables import select
from reproductions.papers.reddi2018adam import analysis, comparison, panels


def measure_figure_1(figure_1: Any) -> dict[str, Metric]:
    """Measure Figure 1."""
    return analysis.figure_1(figure_1)


def measure_theorems(theorems: Any) -> dict[str, Metric]:
    """Measure the theorems."""
    return analysis.theorems(theorems)


def measure_lecture(lecture: Any) -> dict[str, Metric]:
    """Measure the lecture's example."""
    return analysis.lecture(lecture)


def measure_effective_rate(effective_rate: Any) -> dict[str, Metric]:
    """Measure the sign of Gamma_t."""
    return analysis.effective_rate(effective_rate)


def measure_later_results(later_results: Any) -> dict[str, Metric]:
    """Measure the later results."""
    return analysis.later_results(later_results)


def measure_logistic(logistic: Any) -> dict[str, Metric]:
    """Measure Figure 2, top left and centre."""
    return comparison.logistic(logistic)


def measure_network(network: Any) -> dict[str, Metric]:
    """Measure Figure 2, top right."""
    return comparison.network(network)


def measure_what_decides(logistic: Any, network: Any) -> dict[str, Metric]:
    """Measure what decides the training loss of Figure 2."""
    return comparison.variance_ratio(logistic, network)


def measure_cifarnet(cifarnet: Any) -> dict[str, Metric]:
    """Measure Figure 2, bottom."""
    return comparison.cifarnet(cifarnet)


def draw_average_regret(figure_1: Any) -> Any:
    """Figure 1, left. Average regret R_t/t on the periodic problem (1010 x once in 101 steps, else
    -10 x). Grey: the published curves, read off the paper's bitmap to 0.0013. Adam settles on the
    cost of resting at the worst point, 20/101; AMSGrad's average regret falls like 1/sqrt(t).

    The paper states no step size; ours is 0.5/sqrt(t), and the published curves lie slightly above.
    """
    figure, ax = style.new_figure()
    table = select(figure_1, quantity="average_regret", order="periodic", arm=list(panels.FIGURE_1))
    for arm, name in panels.PAPER_NAMES.items():
        t, theirs = analysis.published("fig1_left_avg_regret", name)
        shown = t <= table.step.max()
        if shown.any():
            style.reference(ax, t[shown], theirs[shown], f"published {name}", method=arm)
    style.plot_curves(ax, table[table.step > 100], order=panels.FIGURE_1, xscale="log", yscale="log",
                      say=False, **panels.SMALL)  # fmt: skip
    style.note(ax, panels.NO_SEEDS)
    style.reference(ax, None, analysis.FLOOR, "resting at +1: 20/101", kind="derived")
    ax.set(xlabel="step t", ylabel="average regret  $R_t/t$", ylim=(4e-3, 10))
    style.legend(figure)
    return figure


def draw_iterate_online(figure_1: Any) -> Any:
    """Figure 1, centre. The iterate x_t on the periodic problem. Adam ends at +1, the worst point of
    the interval, AMSGrad at -1, the best. Grey: the published curves, read off the paper's bitmap.
    """
    return panels.iterate(figure_1, "periodic", "fig1_centre_iterate_online")


def draw_iterate_stochastic(figure_1: Any) -> Any:
    """Figure 1, right. The iterate x_t when the large gradient comes with probability 0.01. The
    published curves are one run each; ours are means over seeds with the middle 90 per cent.

    The exact drift of AMSGrad, -0.2/sqrt(vhat), needs about 1.6 million steps from 0 to -1.
    """
    return panels.iterate(figure_1, "random", "fig1_right_iterate_stochastic")


def draw_implied_step_size(figure_1: Any) -> Any:
    """The step size that the published curves imply. Root mean square difference between our R_t/t
    with alpha_t = alpha/sqrt(t) and the published curve from step 2e5 on, against alpha. The two
    curves of one figure have their minima at different step sizes.
    """
    figure, ax = style.new_figure()
    for arm in ("adam", "amsgrad"):
        alphas, misfit = analysis.alpha_misfit(figure_1, arm)
        look = style.look(arm)
        ax.plot(alphas, misfit, color=look.colour, ls=look.linestyle, marker=look.marker,
                label=style.label(arm))  # fmt: skip
        if len(alphas) > 2:
            implied = analysis.implied_alpha(figure_1, arm)
            style.note(ax, f"{style.label(arm)}: implied alpha = {implied:.3f}")
    style.reference(ax, None, 0.0013, "reading error", kind="derived")
    ax.set(xlabel="step size alpha", ylabel="misfit to the published $R_t/t$")
    style.legend(ax)
    return figure


def draw_theorem_1(theorems: Any) -> Any:
    """Theorems 1 and 6. Average regret when C x comes every third step, else -x, from x_1 = 1. Dashed:
    the floor (2C-4)/3 of the proof. Adam (beta1 = 0, beta2 = 1/(1+C^2)) stays above it, also with
    epsilon = 1 under the root and beta2 = 2/((1+C^2)C^2); AMSGrad, Adagrad and SGD go to zero.
    """
    return panels.three_periodic(theorems)


def draw_drift_online(theorems: Any) -> Any:
    """Exact drift per period against C, for the problem of Theorems 1 and 6 (closed form). Above zero
    is the wrong way. Adam's drift tends to 1/sqrt(2) as C grows.
    """
    figure, ax = style.new_figure()
    rows = select(theorems, quantity="drift", theorem="drift")
    for arm in ("adam", "adam_epsilon", "amsgrad", "adagrad"):
        own = select(rows, arm=arm).sort_values("constant")
        look = style.series(0) if arm == "adam_epsilon" else style.look(arm)
        name = "Adam, epsilon = 1" if arm == "adam_epsilon" else style.label(arm)
        ax.plot(own.constant, own.value, color=look.colour, ls=look.linestyle, marker=look.marker,
                label=name)  # fmt: skip
    style.reference(ax, None, 0.0, "no drift", kind="derived")
    style.reference(ax, None, 0.5**0.5, "limit of Adam", kind="derived")
    ax.set(xlabel="constant C", ylabel="drift per period / alpha")
    style.note(ax, "exact, no seeds")
    style.legend(ax)
    return figure


def draw_smallest_period(theorems: Any) -> Any:
    """Theorem 2. The smallest period C at which Adam's exact drift points the wrong way, against the C
    that the proof's sufficient conditions ask for, at the (beta1, beta2) of the configuration.
    """
    return panels.periods(theorems)


def draw_theorem_3(theorems: Any) -> Any:
    """Theorem 3. The iterate when C x comes with probability (1+delta)/(C+1), else -x, at (0.9, 0.99):
    the mean slope is delta, so -1 is best. Adam goes to +1 on average, AMSGrad the right way.
    """
    figure, ax = style.new_figure()
    rows = select(theorems, theorem="3", quantity="iterate")
    style.plot_curves(ax, rows[rows.step > 9], order=["adam", "amsgrad"], xscale="log")
    ax.set(xlabel="step t", ylabel="iterate  $x_t$", ylim=(-1.1, 1.1))
    style.legend(ax)
    return figure


def draw_lecture_drift(lecture: Any) -> Any:
    """The lecture's f = (-3x) + (x) + (x+1). Lines: exact mean move per step against beta2, for several
    beta1; below zero is the wrong way. Points: simulation, with two standard errors. Only small
    beta2 and beta1 fail: RMSProp below beta2 = 0.652, and no beta2 once beta1 exceeds 0.603.
    """
    figure, ax = style.new_figure()
    curves = select(lecture, arm="curve")
    colours = {}
    for index, beta1 in enumerate(np.unique(curves.beta1)):
        own, look = curves[curves.beta1 == beta1], style.series(index)
        colours[beta1] = look.colour
        ax.plot(
            own.beta2, own.value, color=look.colour, ls=look.linestyle, label=f"beta1 = {beta1:g}"
        )
    points = analysis.simulated_drifts(lecture)
    for row in points[points.arm == "adam"].itertuples():
        ax.errorbar(row.beta2, row.mean, 2 * row.sem, fmt="o", ms=4, capsize=2,
                    color=colours.get(row.beta1, "black"))  # fmt: skip
    style.reference(ax, None, 0.0, "no drift", kind="derived")
    style.reference(ax, None, -1 / 3, "sign step: -1/3", kind="derived")
    ax.set(xlabel="beta2", ylabel="mean move per step / alpha")
    runs = select(lecture, quantity="simulated_drift").seed.nunique()
    style.note(ax, f"points: n = {runs} runs, bars two standard errors")
    style.legend(ax)
    return figure


def draw_effective_rate(effective_rate: Any) -> Any:
    """The sign of Gamma_t. Steps so far on which the effective learning rate alpha_t/sqrt(V_t) grew, on
    the problem of Figure 1 with a constant step. SGD, Adagrad, AdamNC and AMSGrad of the paper and of
    optax's order: never. Adam: on all steps without the large gradient; torch's order of AMSGrad:
    until its bias correction has faded.
    """
    figure, ax = style.new_figure(height=3.9)
    rows = select(effective_rate, quantity="growths")
    style.plot_curves(ax, rows[rows.step > 9], order=panels.RATES, xscale="log", say=False)
    style.note(ax, panels.NO_SEEDS)
    ax.set_yscale("symlog", linthresh=1)
    ax.set(xlabel="step t", ylabel="steps with growing learning rate")
    style.legend(figure)
    return figure


def draw_phase_period(later_results: Any) -> Any:
    """Shi et al. 2021, Figure 1. RMSProp with 1/sqrt(t) on C x once in C steps: mean of x over the last
    quarter of the run, for each period C and beta2. The line is the exact boundary; below it x goes
    to +1, the wrong end.
    """
    figure, ax = style.new_figure()
    cells = select(later_results, arm="period_map", quantity="window_mean")
    wide = cells.pivot(index="beta2", columns="n", values="value").sort_index(ascending=False)
    roots = select(later_results, arm="period_map", quantity="critical_beta2").sort_values("n")
    style.phase_map(
        ax, wide.columns.to_numpy(float), 1 - wide.index.to_numpy(float), wide.to_numpy(),
        label="mean of x, last quarter", limits=(-1, 1), yscale="log",
        boundaries={"exact boundary": (roots.n, 1 - roots.value)},
    )  # fmt: skip
    ax.set(xlabel="period C", ylabel="1 - beta2")
    return figure


def draw_phase_momentum(later_results: Any) -> Any:
    """Zhang et al. 2022. Adam on their problem (2.5), drawn at random: where x has gone after the run
    (x* = -2), over (beta1, beta2), mean over seeds. The line is the exact boundary of the region
    where Adam runs away.
    """
    return panels.momentum_map(later_results)


def draw_two_cycle(later_results: Any) -> Any:
    """Bock and Weiss 2022. Largest eigenvalue modulus of Adam's two-step map on its 2-cycle on w^2/2;
    above 1 the cycle repels. The cycle exists for every setting; the defaults do not stay on it.
    """
    figure, ax = style.new_figure()
    rows = select(later_results, quantity="multiplier").sort_values("value")
    names = [f"({row.beta1:g}, {row.beta2:g})" for row in rows.itertuples()]
    ax.plot(rows.value, np.arange(len(rows)), "o", color=style.look("adam").colour)
    ax.axvline(1.0, color="black", ls="--", lw=1)
    ax.set(xlabel="largest multiplier", ylabel="(beta1, beta2)", yticks=np.arange(len(rows)))
    ax.set_yticklabels(names)
    style.note(ax, "exact, no seeds")
    return figure


def draw_logistic_curves(logistic: Any) -> Any:
    """Figure 2, top left and centre. MNIST logistic regression with alpha/sqrt(t), each method at the
    (step size, beta2) of least training loss. Grey: the published curves, whose settings the paper
    does not state.
    """
    files = {"train_loss": "fig2_top_left_logreg_train", "test_loss": "fig2_top_centre_logreg_test"}
    return panels.curves(logistic, {q: f"{name}_every100.csv" for q, name in files.items()})


def draw_network_curves(network: Any) -> Any:
    """Figure 2, top right. The 784-100-10 network on MNIST with a constant step, each method at the
    (step size, beta2) of least training loss; the test loss, which the paper does not plot, beside
    it. Grey: the published curves.
    """
    return panels.curves(
        network, {"train_loss": "fig2_top_right_mlp_train_every100.csv", "test_loss": None}
    )


def draw_cifarnet_curves(cifarnet: Any) -> Any:
    """Figure 2, bottom. CIFARNET on CIFAR-10 with a constant step, each method at the (step size, beta2)
    of least training loss. Grey: the published curves, which go on to 1.6 million iterations.
    """
    files: dict[str, str | None] = {
        "train_loss": "fig2_bottom_left_cifarnet_train.csv",
        "test_loss": "fig2_bottom_right_cifarnet_test.csv",
    }
    return panels.curves(cifarnet, files, beyond=True)


def draw_logistic_grid(logistic: Any) -> Any:
    """Sensitivity, logistic regression. Final training loss of every seed over the whole grid: what the
    choice of the step size, of beta2 and of the method each do.
    """
    return panels.grid(logistic)


def draw_network_grid(network: Any) -> Any:
    """Sensitivity, network. Final training loss of every seed over the whole grid: what the choice of
    the step size, of beta2 and of the method each do.
    """
    return panels.grid(network)
