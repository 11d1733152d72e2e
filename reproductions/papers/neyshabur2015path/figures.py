"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations

from typing import Any

from reproductions.harness.statistics import Metric
from reproductions.papers.neyshabur2015path import (
    curve_figures,
    curve_measures,
    toy_figures,
    toy_measures,
)


def measure_chains(chains: Any) -> dict[str, Metric]:
    """Measure Figure 1 b, c and the theorem on small networks."""
    return toy_measures.toys(chains)


def measure_starts(balance: Any) -> dict[str, Metric]:
    """Measure what both starts are."""
    return toy_measures.starts(balance)


def measure_figure_1a(balance: Any) -> dict[str, Metric]:
    """Measure Figure 1 a and what rounding does to Path-SGD."""
    return toy_measures.figure_1a(balance)


def measure_mnist(mnist: Any) -> dict[str, Metric]:
    """Measure Figure 2, MNIST."""
    return curve_measures.plain(mnist, "mnist")


def measure_cifar(cifar: Any) -> dict[str, Metric]:
    """Measure Figure 2, CIFAR-10."""
    return curve_measures.plain(cifar, "cifar")


def measure_cifar100(cifar100: Any) -> dict[str, Metric]:
    """Measure Figure 2, CIFAR-100."""
    return curve_measures.plain(cifar100, "cifar100")


def measure_svhn(svhn: Any) -> dict[str, Metric]:
    """Measure Figure 2, SVHN."""
    return curve_measures.plain(svhn, "svhn")


def measure_generalisation(mnist: Any, cifar: Any) -> dict[str, Metric]:
    """Count the data sets, of the two at hand everywhere, on which Path-SGD generalises better."""
    return curve_measures.sets_with_better_test_error({"MNIST": mnist, "CIFAR-10": cifar})


def measure_four_sets(mnist: Any, cifar: Any, cifar100: Any, svhn: Any) -> dict[str, Metric]:
    """Count them of all four data sets."""
    tables = _plain(mnist, cifar, cifar100, svhn)
    found = curve_measures.sets_with_better_test_error(tables)
    return {
        "four_sets_with_better_test_error": found["sets_with_better_test_error"],
        "four_sets_with_better_finer_test_error": found["sets_with_better_finer_test_error"],
    }


def measure_mnist_dropout(mnist_dropout: Any) -> dict[str, Metric]:
    """Measure Figure 3, MNIST."""
    return curve_measures.common(mnist_dropout, "mnist_dropout")


def measure_cifar_dropout(cifar_dropout: Any) -> dict[str, Metric]:
    """Measure Figure 3, CIFAR-10."""
    return curve_measures.common(cifar_dropout, "cifar_dropout")


def measure_cifar100_dropout(cifar100_dropout: Any) -> dict[str, Metric]:
    """Measure Figure 3, CIFAR-100."""
    return curve_measures.common(cifar100_dropout, "cifar100_dropout")


def measure_svhn_dropout(svhn_dropout: Any) -> dict[str, Metric]:
    """Measure Figure 3, SVHN."""
    return curve_measures.common(svhn_dropout, "svhn_dropout")


def measure_codes(codes: Any) -> dict[str, Metric]:
    """Measure what public codes change."""
    return toy_measures.codes(codes)


def draw_chains(chains: Any) -> Any:
    """Figure 1 b, c, with networks of ours: what one step of size 1 makes of the same function from a start
    whose unit is rescaled by c. Left: the product of a chain of two weights; right: what the outputs of
    a fork gain. Dashed: the exact answer for SGD.
    """
    return toy_figures.chains(chains)


def draw_invariance(chains: Any) -> Any:
    """The theorem on a small network with thresholds: difference of the losses of two rescaled starts over
    50 steps. Path-SGD stays at rounding for every exponent of the path norm, SGD and AdaGrad do not.
    """
    return toy_figures.invariance(chains)


def draw_starts(balance: Any) -> Any:
    """Quantiles of kappa over the weights of each layer at the balanced and the unbalanced start of seed 0, the
    only one drawn. Dashed: the expected mean at the balanced one, outputs / hidden units in the first two layers and 1 in the last.
    """
    return toy_figures.starts(balance)


def draw_figure_1a(balance: Any) -> Any:
    """Figure 1 a. Training loss of SGD from the balanced and the unbalanced start of the same function, each
    seed at its own best step size (left), and after the last epoch at every step size tried (right).
    """
    return toy_figures.figure_1a(balance)


def draw_divergence(balance: Any) -> Any:
    """How rounding parts the two starts of Path-SGD, which are one trajectory in exact arithmetic: relative
    distance of the weights after scaling back, and of the training loss, in float32 and float64.
    """
    return toy_figures.divergence(balance)


def draw_mnist(mnist: Any) -> Any:
    """Figure 2, MNIST. Training cross-entropy, training and test 0/1 error of SGD, AdaGrad and Path-SGD from
    the balanced and the unbalanced start, each seed with the step size of the paper's rule. Published values
    were not available.
    """
    return curve_figures.row(mnist)


def draw_cifar(cifar: Any) -> Any:
    """Figure 2, CIFAR-10. Training cross-entropy, training and test 0/1 error of SGD, AdaGrad and Path-SGD
    from the balanced and the unbalanced start, each seed with the step size of the paper's rule. Published
    values were not available.
    """
    return curve_figures.row(cifar)


def draw_cifar100(cifar100: Any) -> Any:
    """Figure 2, CIFAR-100. Training cross-entropy, training and test 0/1 error of SGD, AdaGrad and Path-SGD
    from the balanced and the unbalanced start, each seed with the step size of the paper's rule. Published
    values were not available.
    """
    return curve_figures.row(cifar100)


def draw_svhn(svhn: Any) -> Any:
    """Figure 2, SVHN. Training cross-entropy, training and test 0/1 error of SGD, AdaGrad and Path-SGD from
    the balanced and the unbalanced start, each seed with the step size of the paper's rule. Published values
    were not available.
    """
    return curve_figures.row(svhn)


def draw_mnist_dropout(mnist_dropout: Any) -> Any:
    """Figure 3, MNIST: as in Figure 2, with dropout of hidden units in training; both starts are drawn, where
    the paper leaves the unbalanced one out. Losses and errors are of the whole network.
    """
    return curve_figures.row(mnist_dropout)


def draw_cifar_dropout(cifar_dropout: Any) -> Any:
    """Figure 3, CIFAR-10: as in Figure 2, with dropout of hidden units in training; both starts are drawn,
    where the paper leaves the unbalanced one out. Losses and errors are of the whole network.
    """
    return curve_figures.row(cifar_dropout)


def draw_cifar100_dropout(cifar100_dropout: Any) -> Any:
    """Figure 3, CIFAR-100: as in Figure 2, with dropout of hidden units in training; both starts are drawn,
    where the paper leaves the unbalanced one out. Losses and errors are of the whole network.
    """
    return curve_figures.row(cifar100_dropout)


def draw_svhn_dropout(svhn_dropout: Any) -> Any:
    """Figure 3, SVHN: as in Figure 2, with dropout of hidden units in training; both starts are drawn, where
    the paper leaves the unbalanced one out. Losses and errors are of the whole network.
    """
    return curve_figures.row(svhn_dropout)


def draw_figure_2_test(mnist: Any, cifar: Any, cifar100: Any = None, svhn: Any = None) -> Any:
    """Final test error of Path-SGD minus those of SGD and AdaGrad on each data set, all from the balanced
    start, with intervals over seeds; left of the line Path-SGD is better.
    """
    return curve_figures.final_test(_plain(mnist, cifar, cifar100, svhn))


def draw_step_sizes(
    mnist: Any, cifar: Any, mnist_dropout: Any, cifar_dropout: Any, cifar100: Any = None,
    svhn: Any = None, cifar100_dropout: Any = None, svhn_dropout: Any = None,
) -> Any:  # fmt: skip
    """How the step sizes were chosen: smallest error on held-out images against alpha for every method and
    start; rings are the choices of the paper's rule, one of
    all seeds from the balanced start and one a seed from the unbalanced one, larger where more seeds share it.
    """
    plain = _plain(mnist, cifar, cifar100, svhn)
    dropout = _dropout(mnist_dropout, cifar_dropout, cifar100_dropout, svhn_dropout)
    return curve_figures.selection(plain | dropout)


def draw_finer_grid(mnist: Any, cifar: Any, cifar100: Any = None, svhn: Any = None) -> Any:
    """What the coarse grid decides: mean over epochs of the log training loss from the balanced start, at the
    step size of the paper's rule and half a decade to either side of it; lower is faster. AdaGrad was not
    tried between decades.
    """
    return curve_figures.finer_grid(_plain(mnist, cifar, cifar100, svhn))


def draw_degradation(
    mnist: Any, cifar: Any, mnist_dropout: Any, cifar_dropout: Any, cifar100: Any = None,
    svhn: Any = None, cifar100_dropout: Any = None, svhn_dropout: Any = None,
) -> Any:  # fmt: skip
    """What the unbalanced start costs each method: mean over epochs of the log training loss, unbalanced minus
    balanced. Path-SGD is at zero up to rounding.
    """
    plain = _plain(mnist, cifar, cifar100, svhn)
    dropout = _dropout(mnist_dropout, cifar_dropout, cifar100_dropout, svhn_dropout)
    return curve_figures.overview(plain | dropout)


def draw_codes(codes: Any) -> Any:
    """What public codes change, each change as an arm: ReLU on the outputs, summed gradients and the step size
    of the MATLAB package; the PyTorch repository as published, with its generator mended, and with kappa not adding up.
    """
    return toy_figures.codes(codes)


def _plain(mnist: Any, cifar: Any, cifar100: Any, svhn: Any) -> dict[str, Any]:
    """Return the tables that there are, by the name of their data set."""
    tables = {"MNIST": mnist, "CIFAR-10": cifar, "CIFAR-100": cifar100, "SVHN": svhn}
    return {name: table for name, table in tables.items() if table is not None}


def _dropout(mnist: Any, cifar: Any, cifar100: Any, svhn: Any) -> dict[str, Any]:
    tables = _plain(mnist, cifar, cifar100, svhn)
    return {f"{name}, dropout": table for name, table in tables.items()}
