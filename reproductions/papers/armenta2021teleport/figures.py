"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations

from typing import Any

from reproductions.harness.statistics import Metric
from reproductions.papers.armenta2021teleport import (
    beyond_figures,
    beyond_measures,
    convergence_figures,
    convergence_measures,
    local_figures,
    local_measures,
    shape_figures,
    shape_measures,
)


def measure_exactness(exactness: Any) -> dict[str, Metric]:
    """Measure the largest changes of outputs."""
    return shape_measures.exactness(exactness)


def measure_moments(moments: Any) -> dict[str, Metric]:
    """Measure factors of squares, norms and Hessians against their closed forms."""
    return shape_measures.moments(moments)


def measure_interpolation(interpolation: Any) -> dict[str, Metric]:
    """Measure Figure 5 and the growth of Hessian traces."""
    return shape_measures.interpolation(interpolation)


def measure_histograms(histograms: Any) -> dict[str, Metric]:
    """Measure Figure 11."""
    return shape_measures.histograms(histograms)


def draw_exactness(exactness: Any) -> Any:
    """Largest change of the outputs by teleports of range 0.9, network by network, in float64 relative to the
    largest output and in float32 absolute (TF32 off). ReLU networks and modules stay ordinary ones; tanh, sigmoid
    and what is called conjugated have factors of either sign. Dashed: 1e-13, and the authors' own 1e-5.
    """
    return shape_figures.exactness(exactness)


def draw_moments(moments: Any) -> Any:
    """What squared weights and squared gradients of each part of the network are multiplied by in the mean over
    changes of basis, against the closed forms A = 1 + sigma^2 / 3, B = 1 / (1 - sigma^2) and their product.
    """
    return shape_figures.moments(moments)


def draw_figure_5(interpolation: Any) -> Any:
    """Figure 5. Loss and accuracy on the line from A, found with small batches, to B, found with large ones, and
    on the line between their teleports, T and T' drawn apart. Functions at 0 and 1 are the same in both panels.
    Both are where training ends, not stationary points. Published curves were not available.
    """
    return shape_figures.figure_5(interpolation)


def draw_figure_5_barrier(interpolation: Any) -> Any:
    """What Figure 5 shows, pair by pair: how far the training loss rises above the straight line between its ends,
    also on the line from A to its own teleport, and the curvature at both ends, as it is and per unit of distance.
    """
    return shape_figures.figure_5_barrier(interpolation)


def draw_hessian_trace(interpolation: Any) -> Any:
    """Trace of the Hessian of the training loss, layer by layer, before teleports of range 0.9 and measured at the
    teleported weights, at the initialisation and where training ends. Hollow: the closed form.
    """
    return shape_figures.hessian_trace(interpolation)


def draw_figure_11(histograms: Any) -> Any:
    """Figure 11. Density of all weights of the network 3072-5x500-10 at the default initialisation, teleported with
    range 0.9, and drawn anew from each layer's histogram; left as published, right to the largest weight.
    """
    return shape_figures.figure_11(histograms)


def measure_convergence_identity(convergence_identity: Any) -> dict[str, Metric]:
    """Measure how far SGD after a teleport is from SGD with rates lr / D^2."""
    return convergence_measures.identity(convergence_identity)


def measure_convergence_mnist(convergence_mnist: Any) -> dict[str, Metric]:
    """Measure Figure 6 on MNIST."""
    return convergence_measures.data_set(convergence_mnist, "mnist")


def measure_convergence_cifar(convergence_cifar: Any) -> dict[str, Metric]:
    """Measure Figure 6 on CIFAR-10."""
    return convergence_measures.data_set(convergence_cifar, "cifar")


def measure_activations(activations: Any) -> dict[str, Metric]:
    """Measure Figure 8."""
    return convergence_measures.smallest_gains(activations, "activation", "activations")


def measure_initialisers(initialisers: Any) -> dict[str, Metric]:
    """Measure Figure 9."""
    return convergence_measures.smallest_gains(initialisers, "initialiser", "initialisers")


def measure_pseudo(pseudo: Any, convergence_cifar: Any) -> dict[str, Metric]:
    """Measure Figure 10."""
    return convergence_measures.controls(pseudo, convergence_cifar)


def draw_convergence_identity(convergence_identity: Any) -> Any:
    """What teleporting once before training amounts to: the distance between SGD after a teleport, taken back to
    the original basis, and SGD in that basis with rates lr/D^2 for the loss is rounding, with momentum and with
    weight decay too. With one rate lr for all weights it is not. Small networks, random data, float64.
    """
    return convergence_figures.identity(convergence_identity)


def draw_figure_6_mnist(convergence_mnist: Any) -> Any:
    """Figure 6 on MNIST, which is ours: test accuracy of all runs at three learning rates, the authors' (at laptop scale
    ten times those), early, halfway and late in training, with and without one teleport before it. A run that
    diverged is at chance.
    """
    return convergence_figures.boxes(convergence_mnist)


def draw_figure_6_cifar(convergence_cifar: Any) -> Any:
    """Figure 6 on CIFAR-10: test accuracy of all runs at three learning rates, the authors' (at laptop scale ten
    times those), early, halfway and late in training, with and without one teleport before it. A run that
    diverged is at chance.
    """
    return convergence_figures.boxes(convergence_cifar)


def draw_figure_6_curves(convergence_mnist: Any, convergence_cifar: Any) -> Any:
    """The curves behind Figure 6, with two controls: no teleport but every layer's rate times the mean of 1/D^2 of
    the teleport, and a teleport whose layers have their rates divided by it.
    """
    tables = {"MNIST": convergence_mnist, "CIFAR-10": convergence_cifar}
    return convergence_figures.curves(tables)


def draw_figure_6_rates_mnist(convergence_mnist: Any) -> Any:
    """Late test accuracy on MNIST against the learning rate, over the rates of Figure 6 and ours, with their weight
    decay and without: how far a teleport is a shift along this axis, and what is left at each arm's best rate.
    """
    return convergence_figures.rates(convergence_mnist)


def draw_figure_6_rates_cifar(convergence_cifar: Any) -> Any:
    """Late test accuracy on CIFAR-10 against the learning rate, over the rates of Figure 6 and ours: how far a
    teleport is a shift along this axis, and what is left at each arm's best rate.
    """
    return convergence_figures.rates(convergence_cifar)


def draw_figure_8(activations: Any) -> Any:
    """Figure 8: test accuracy on CIFAR-10 with other activations than ReLU, with and without one teleport before
    training, whose activations are then conjugated, early, halfway and late.
    """
    return convergence_figures.gains(activations, "activation")


def draw_figure_9(initialisers: Any) -> Any:
    """Figure 9: test accuracy on CIFAR-10 from other initial weights, with and without one teleport before
    training, early, halfway and late.
    """
    return convergence_figures.gains(initialisers, "initialiser")


def draw_figure_10(pseudo: Any, convergence_cifar: Any) -> Any:
    """Figure 10: a teleport against a random displacement of the same length in L1, tensor by tensor, and against
    weights drawn again from the histogram of the teleported ones. Plain and teleported arms are those of Figure 6.
    Right: late accuracy over plain training.
    """
    return convergence_figures.controls(pseudo, convergence_cifar)


def measure_beyond_small(beyond_small: Any) -> dict[str, Metric]:
    """Measure teleports to a larger gradient on small problems."""
    return beyond_measures.small(beyond_small)


def measure_beyond_mnist(beyond_mnist: Any) -> dict[str, Metric]:
    """Measure what chosen teleports save and cost on MNIST."""
    return beyond_measures.images(beyond_mnist, "mnist")


def measure_beyond_cifar(beyond_cifar: Any) -> dict[str, Metric]:
    """Measure what chosen teleports save and cost on CIFAR-10."""
    return beyond_measures.images(beyond_cifar, "cifar")


def draw_beyond_small(beyond_small: Any) -> Any:
    """Beyond the paper: symmetry teleports as Zhao et al. (2022) set them up. Loss of gradient descent on two
    functions of the plane, whose level curves are circles in other coordinates, and of a leaky-ReLU network on
    four examples, with and without teleports. As the code has it, a teleport of the network acts to first order
    and does not keep the loss. Losses below 1e-12 are drawn there, those above 1e4 and runs that diverged at 1e4.
    """
    return beyond_figures.small(beyond_small)


def draw_beyond_mnist(beyond_mnist: Any) -> Any:
    """Beyond the paper, MNIST: training loss of SGD without and with teleports, random or chosen for a larger
    gradient, each arm at the learning rate with the least training loss over its epochs, against epochs,
    gradients of all training images with those of the teleports, and seconds, an estimate: medians of five
    repeats, of a step and of a teleport, times their counts. Lower right: what is judged.
    """
    return beyond_figures.curves(beyond_mnist, "MNIST")


def draw_beyond_cifar(beyond_cifar: Any) -> Any:
    """Beyond the paper, CIFAR-10: training loss of SGD without and with teleports, random or chosen for a larger
    gradient, each arm at the learning rate with the least training loss over its epochs, against epochs,
    gradients of all training images with those of the teleports, and seconds, an estimate: medians of five
    repeats, of a step and of a teleport, times their counts. Lower right: what is judged.
    """
    return beyond_figures.curves(beyond_cifar, "CIFAR-10")


def draw_beyond_rates(beyond_mnist: Any, beyond_cifar: Any) -> Any:
    """Beyond the paper: training loss after the last epoch of every arm at every learning rate tried. A teleport
    moves the range of learning rates that train, so compared at one rate it may look like an acceleration.
    """
    return beyond_figures.rates({"MNIST": beyond_mnist, "CIFAR-10": beyond_cifar})


def measure_convergence_conv(convergence_conv: Any) -> dict[str, Metric]:
    """Measure Figure 6 on convolutional networks."""
    return convergence_measures.smallest_gains(convergence_conv, "network", "conv_nets")


def draw_figure_6_conv(convergence_conv: Any) -> Any:
    """Figure 6 on convolutional networks, CIFAR-10: test accuracy with and without one teleport before training,
    early, halfway and late.
    """
    return convergence_figures.gains(convergence_conv, "network")


def measure_angles(angles: Any) -> dict[str, Metric]:
    """Measure Figure 4, one hidden layer."""
    return local_measures.angles(angles)


def measure_angles_vgg(angles_vgg: Any) -> dict[str, Metric]:
    """Measure Figure 4, VGG-16."""
    return local_measures.angles_vgg(angles_vgg)


def measure_gradients(gradients: Any) -> dict[str, Metric]:
    """Measure Figure 7, fully connected network."""
    return local_measures.gradients(gradients)


def measure_gradients_conv(gradients_conv: Any) -> dict[str, Metric]:
    """Measure Figure 7, convolutional networks."""
    return local_measures.gradients_conv(gradients_conv)


def draw_figure_4(angles: Any) -> Any:
    """Figure 4, one hidden layer of ReLU units. Angles between the displacement of a small teleport, the gradient
    and random vectors, on the published axis; second from above, ours: the same displacement with tanh units,
    whose gradient it does not avoid. Dashed: what chance gives.
    """
    return local_figures.figure_4(angles)


def draw_figure_4_vgg(angles_vgg: Any) -> Any:
    """Figure 4, VGG-16 without batch norm, from one backward pass for all teleports. With 134 million weights
    chance alone is fifty times sharper than the published axis is wide, so the axis is ours.
    """
    return local_figures.figure_4_vgg(angles_vgg)


def draw_figure_4_sigma(angles: Any) -> Any:
    """Angle between teleport and gradient against the range of the teleport: of ReLU networks spread and offset
    shrink in proportion, as the second order of the teleport says, and are larger in the authors' loop; with
    tanh they do not shrink, for the activation would have to move too.
    """
    return local_figures.figure_4_sigma(angles)


def draw_figure_7(gradients: Any, gradients_conv: Any) -> Any:
    """Figure 7. Absolute difference of gradient over weights before and after a teleport, against its range, mean
    and standard deviation over teleports; the authors' loop divides each draw by the one before. Published
    values were not available.
    """
    return local_figures.figure_7([gradients, gradients_conv])


def draw_figure_7_signed(gradients: Any, gradients_conv: Any) -> Any:
    """What the absolute value in Figure 7 hides: how much longer gradient and weights are after a teleport, and
    the one over the other. Dashed: the closed forms of both, from A = 1 + sigma^2 / 3 and B = 1 / (1 - sigma^2).
    """
    return local_figures.figure_7_signed([gradients, gradients_conv])
