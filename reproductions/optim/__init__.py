"""Optimizers that move a whole ensemble at once; the legend of the axes every module here uses.

E  ensemble members (seeds, learning rates, replicas: whatever runs side by side)
P  parameters per member          L  layers              T  recorded steps
B  examples in a minibatch        D  inputs of a layer   Q  Krylov steps
H  width of a hidden layer        K  outputs
G  groups of members that share a minibatch (G divides E; member e reads group e // (E / G))

Conventions
* Parameters are one flat tensor theta (E, P). Only `layout.py` knows where a weight sits in it.
* A transform is a pair of pure functions, init(theta) -> state and
  update(grad, state, theta) -> (step, state), and theta moves to theta + step.
* Hyperparameters broadcast: a float, or a tensor (E, 1) with one value per member.
* Steps count from t = 1. A state's `t` is the number of updates made so far.
* Nothing draws random numbers unless it is given a generator, or the integers to make one from.
"""
