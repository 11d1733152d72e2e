"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import Metric
from reproductions.harness.tables import read_points, select
from reproductions.papers.reddi2018adam import analysis

_RATES = ("adam", "amsgrad", "amsgrad_torch", "amsgrad_optax", "adagrad", "adamnc", "sgd")
_FIGURE_1 = (*_RATES[:-1], "sgd_small")  # SGD with 0.5/sqrt(t) only bounces: gradients reach 1010
_SMALL = {
    "labels": {"sgd_small": "SGD, step 50 times smaller"},
    "looks": {"sgd_small": style.look("sgd")},
}
_PAPER_NAMES = {"adam": "Adam", "amsgrad": "AMSGrad"}


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
    return analysis.logistic(logistic)


def measure_network(network: Any) -> dict[str, Metric]:
    """Measure Figure 2, top right."""
    return analysis.network(network)


def measure_what_decides(logistic: Any, network: Any) -> dict[str, Metric]:
    """Measure what decides the training loss of Figure 2."""
    return analysis.variance_ratio(logistic, network)


def measure_cifarnet(cifarnet: Any) -> dict[str, Metric]:
    """Measure Figure 2, bottom."""
    return analysis.cifarnet(cifarnet)


def draw_average_regret(figure_1: Any) -> Any:
    """Figure 1, left. Average regret R_t/t on the periodic problem (1010 x once in 101 steps, else
    -10 x). Grey: the published curves, read off the paper's bitmap to 0.0013. Adam settles on the
    cost of resting at the worst point, 20/101; AMSGrad's average regret falls like 1/sqrt(t).

    The paper states no step size; ours is 0.5/sqrt(t), and the published curves lie slightly above.
    """
    figure, ax = style.new_figure()
    table = select(figure_1, quantity="average_regret", order="periodic", arm=list(_FIGURE_1))
    for arm, name in _PAPER_NAMES.items():
        t, theirs = analysis.published("fig1_left_avg_regret", name)
        shown = t <= table.step.max()
        if shown.any():
            style.reference(ax, t[shown], theirs[shown], f"published {name}", method=arm)
    style.plot_curves(ax, table[table.step > 100], order=_FIGURE_1, xscale="log", yscale="log",
                      **_SMALL)  # fmt: skip
    style.reference(ax, None, analysis.FLOOR, "resting at +1: 20/101", kind="derived")
    ax.set(xlabel="step t", ylabel="average regret  $R_t/t$", ylim=(4e-3, 10))
    style.legend(figure)
    return figure


def draw_iterate_online(figure_1: Any) -> Any:
    """Figure 1, centre. The iterate x_t on the periodic problem. Adam ends at +1, the worst point of
    the interval, AMSGrad at -1, the best. Grey: the published curves, read off the paper's bitmap.
    """
    return _iterate(figure_1, "periodic", "fig1_centre_iterate_online")


def draw_iterate_stochastic(figure_1: Any) -> Any:
    """Figure 1, right. The iterate x_t when the large gradient comes with probability 0.01. The
    published curves are one run each; ours are means over seeds with the middle 90 per cent.

    The exact drift of AMSGrad, -0.2/sqrt(vhat), needs about 1.6 million steps from 0 to -1.
    """
    return _iterate(figure_1, "random", "fig1_right_iterate_stochastic")


def _iterate(table: Any, order: str, file: str) -> Any:
    figure, ax = style.new_figure()
    rows = select(table, quantity="iterate", order=order, arm=list(_FIGURE_1))
    for arm, name in _PAPER_NAMES.items():
        t, theirs = analysis.published(file, name)
        shown = t <= rows.step.max()
        if shown.any():
            style.reference(ax, t[shown], theirs[shown], f"published {name}", method=arm)
    rows = rows[rows.step > 100]
    style.plot_curves(ax, rows, order=_FIGURE_1[2:], xscale="log", band="none", say=False, **_SMALL)
    style.plot_curves(ax, rows, order=_FIGURE_1[:2], xscale="log")
    ax.set(xlabel="step t", ylabel="iterate  $x_t$", ylim=(-1.1, 1.1))
    style.legend(figure)
    return figure


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
    rows = select(theorems, theorem="1", quantity="average_regret")
    constants = np.unique(rows.constant)
    figure, axes = style.new_figure(1, 2, sharey=True)
    for ax, constant in zip(axes, (constants[0], constants[-1]), strict=True):
        share = rows.share.min()
        own = rows[(rows.constant == constant) & (rows.share == share) & (rows.step > 9)]
        own = own[own.arm != "adam_constant"]
        labels = {"adam_epsilon": "Adam, epsilon = 1"}
        looks = {"adam_epsilon": style.series(0)}
        order = ["adam", "adam_epsilon", "amsgrad", "adagrad", "sgd"]
        style.plot_curves(ax, own, order=order, xscale="log", labels=labels, looks=looks)
        floor = (2 * constant - 4) / 3
        style.reference(ax, None, floor, "floor of the proof", kind="derived")
        ax.set(xlabel="step t", title=f"C = {constant:g}")
        ax.set_yscale("symlog", linthresh=0.01)
    axes[0].set_ylabel("average regret  $R_t/t$")
    style.legend(figure)
    return figure


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
    figure, ax = style.new_figure()
    small = select(theorems, quantity="smallest_period").sort_values(["beta2", "beta1"])
    ample = select(theorems, quantity="sufficient_period").sort_values(["beta2", "beta1"])
    names = [f"({row.beta1:g}, {row.beta2:g})" for row in small.itertuples()]
    place = np.arange(len(names))
    ax.plot(place, small.value, "o", color=style.look("adam").colour, label="truly fails from")
    ax.plot(
        place[: len(ample)], ample.value, "s", color="black", mfc="none", label="proof asks for"
    )
    for x, row in zip(place, small.itertuples(), strict=True):
        ax.annotate(f"{row.value:g}", (x, row.value), xytext=(7, 4), textcoords="offset points")
    ax.set(xlabel="(beta1, beta2)", ylabel="period C", yscale="log", xticks=place)
    ax.set_xticklabels(names)
    style.note(ax, "exact, no seeds")
    style.legend(ax)
    return figure


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
    figure, ax = style.new_figure()
    rows = select(effective_rate, quantity="growths")
    style.plot_curves(ax, rows[rows.step > 9], order=_RATES, xscale="log")
    ax.set_yscale("symlog", linthresh=1)
    ax.set(xlabel="step t", ylabel="steps with growing learning rate")
    style.legend(ax)
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
    final = select(later_results, arm="momentum_map", quantity="final")
    problems = np.unique(final.n)
    figure, axes = style.new_figure(1, len(problems), squeeze=False)
    for ax, n in zip(axes[0], problems, strict=True):
        own = final[final.n == n].groupby(["beta2", "beta1"]).value.mean().unstack()
        roots = select(later_results, arm="momentum_map", quantity="critical_beta2", n=n)
        upper = roots.groupby("beta1").value.max()
        lower = roots[roots.groupby("beta1").value.transform("size") == 2]
        lower = lower.groupby("beta1").value.min()
        lines = {"exact boundary": (upper.index, upper)}
        if len(lower):
            lines["its lower branch"] = (lower.index, lower)
        style.phase_map(ax, own.columns.to_numpy(), own.index.to_numpy(), own.to_numpy(),
                        label="x at the end", boundaries=lines)  # fmt: skip
        ax.set(xlabel="beta1", ylabel="beta2", title=f"n = {n:g}")
        style.note(ax, f"mean over n = {final.seed.nunique()} seeds")
    return figure


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
    return _curves(logistic, {q: f"{name}_every100.csv" for q, name in files.items()})


def draw_network_curves(network: Any) -> Any:
    """Figure 2, top right. The 784-100-10 network on MNIST with a constant step, each method at the
    (step size, beta2) of least training loss; the test loss, which the paper does not plot, beside
    it. Grey: the published curves.
    """
    return _curves(
        network, {"train_loss": "fig2_top_right_mlp_train_every100.csv", "test_loss": None}
    )


def draw_cifarnet_curves(cifarnet: Any) -> Any:
    """Figure 2, bottom. CIFARNET on CIFAR-10 with a constant step, each method at the (step size, beta2)
    of least training loss.
    """
    return _curves(cifarnet, {"train_loss": None, "test_loss": None})


def _curves(table: Any, panels: dict[str, str | None]) -> Any:
    figure, axes = style.new_figure(1, len(panels))
    train = analysis.final_losses(table, "train_loss")
    for ax, (quantity, file) in zip(axes, panels.items(), strict=True):
        rows = select(table, quantity=quantity)
        rates, beta2s = np.unique(rows.learning_rate), np.unique(rows.beta2)
        for arm, name in _PAPER_NAMES.items():
            rate, beta2 = analysis.best(train[arm])
            own = select(rows, arm=arm, learning_rate=rates[rate], beta2=beta2s[beta2])
            text = f"{name}, {rates[rate]:g}, beta2 {beta2s[beta2]:g}"
            style.plot_curves(ax, own, order=[arm], labels={arm: text}, yscale="log")
            if file:
                points = read_points(analysis.DIGITISED / file)
                points = points[points.iteration <= rows.step.max()]
                if len(points):
                    style.reference(
                        ax, points.iteration, points[name], f"published {name}", method=arm
                    )
        ax.set(xlabel="iteration", ylabel=quantity.replace("_", " ") + " (nat)")
    style.legend(figure)
    return figure


def draw_logistic_grid(logistic: Any) -> Any:
    """Sensitivity, logistic regression. Final training loss of every seed over the whole grid: what the
    choice of the step size, of beta2 and of the method each do.
    """
    return _grid(logistic)


def draw_network_grid(network: Any) -> Any:
    """Sensitivity, network. Final training loss of every seed over the whole grid: what the choice of
    the step size, of beta2 and of the method each do.
    """
    return _grid(network)


def _grid(table: Any) -> Any:
    rows = select(table, quantity="train_loss")
    rows = rows[rows.step == rows.step.max()]
    beta2s = np.unique(rows.beta2)
    figure, axes = style.new_figure(1, len(beta2s), sharey=True, squeeze=False)
    for ax, beta2 in zip(axes[0], beta2s, strict=True):
        own = rows[rows.beta2 == beta2].assign(step=lambda frame: frame.learning_rate)
        style.plot_curves(ax, own, order=["adam", "amsgrad"], xscale="log", yscale="log",
                          band="range")  # fmt: skip
        ax.set(xlabel="step size alpha", title=f"beta2 = {beta2:g}")
    axes[0][0].set_ylabel("final training loss (nat)")
    style.legend(figure)
    return figure
