"""Teleport a torch module as it is: trace it once, then change its basis as often as you like.

    plan = trace(module, example)             # where weights may change, and how they hang together
    tau = plan.draw(0.9, generator(0, 0))     # (U,), one scalar a unit or channel, or a tied group
    other = plan.teleport(module, tau)        # the same function by other weights

In the default mode a teleport is a module of the same class with other weights. Scalars are tied
where additions need it, positive where a ReLU or a max-pooling needs it, 1 or -1 in front of an odd
function such as tanh, and one in front of any other. In general mode every unit has a scalar of its
own, of either sign, and a teleport is a torch.fx.GraphModule that conjugates its operations:
f becomes tau f(. / tau). Only a layer that is used twice ties scalars there, and an operation that
writes into what is read elsewhere constrains them.

Source: Armenta et al. 2023 for the changes of weights and for conjugation. Ties, the exact change
of running statistics, groups, gates and parameters without a layer are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from reproductions.optim.module_conjugate import Conjugated
from reproductions.optim.module_guard import altered, undisturbed
from reproductions.optim.module_plan import Plan
from reproductions.optim.module_rules import table
from reproductions.optim.module_scaling import tensors_of
from reproductions.optim.module_trace import constants_of, copied, graph_of
from reproductions.optim.module_walk import Rule, Walk

MODES = ("intra", "general")


def trace(
    module: nn.Module,
    *example_inputs: Any,
    mode: str = "intra",
    normalisation: str = "absorb",
    unknown: str = "refuse",
) -> Plan:
    """Find out how a module's weights change with its basis.

    The module is traced by torch.fx in the mode, training or eval, that it is in, and the graph is
    run once on the examples for its shapes; its tensors and torch's generators stay as they are.
    What that mode leaves out, such as the auxiliary heads of GoogLeNet, is not in the plan.

    Args:
        example_inputs: on the module's device, of a shape that it takes.
        mode: "intra" for teleports of the same class; "general" for any scalars anywhere.
        normalisation: whether a BatchNorm in eval mode takes a change of basis in front of it into
            its running statistics ("absorb"), or asks for none there ("fix"), which is exact in
            training mode too. One in training mode does the latter.
        unknown: whether an operation without a rule is refused ("refuse"), or has the bases of its
            arguments and its result left as they are ("fix").

    Raises:
        TypeError: naming an operation that cannot be teleported, a layer with hooks, or the
            module and the line that cannot be traced, such as one that draws random numbers
            beside its inputs or takes parameters out by self.parameters().
        ValueError: for an unknown mode.
    """
    _check(mode=(mode, MODES), normalisation=(normalisation, ("absorb", "fix")))
    _check(unknown=(unknown, ("refuse", "fix")))
    general = mode == "general"
    if general and (reason := altered(module)) is not None:
        raise TypeError(f"{type(module).__name__} cannot be conjugated: {reason}")
    with undisturbed(module):
        traced = graph_of(module, example_inputs)
        absorb, fix_unknown = normalisation == "absorb", unknown == "fix"
        walk = Walk(traced, table(), general=general, absorb=absorb, fix_unknown=fix_unknown)
        walk.run(*copied(example_inputs))
    return _plan(walk, module)


def conjugate(
    module: nn.Module, *example_inputs: Any, unknown: str = "refuse"
) -> tuple[fx.GraphModule, Plan]:
    """Return a module whose operations can be conjugated, in no other basis yet, and its plan.

        general, plan = conjugate(module, example)
        plan.apply(general, plan.draw(0.9, source, kind="inter"))

    Raises:
        TypeError: as `trace`.
    """
    plan = trace(module, *example_inputs, mode="general", unknown=unknown)
    assert plan.graph is not None
    return plan.graph.build(module), plan


def _plan(walk: Walk, module: nn.Module) -> Plan:
    """Return what a walk has found."""
    classes = walk.units.classes()
    known = [used[0] for used in walk.changes.values()]
    rewritten = None
    if walk.general:
        traced = walk.module
        assert isinstance(traced, fx.GraphModule)
        rewritten = Conjugated(
            traced.graph, walk.conjugations, walk.overwritten, constants_of(traced, module)
        )
        known += rewritten.rules
    rules = (_positioned(rule, classes.table) for rule in known)
    changing = tuple(rule for rule in rules if rule.out.any() or rule.into.any())
    buffers = dict(module.named_buffers(remove_duplicate=False))
    return Plan(
        "general" if walk.general else "intra",
        classes,
        changing,
        _aliases(tensors_of(module), changing),
        {rule.variance: buffers[rule.variance].clone() for rule in changing if rule.variance},
        rewritten,
        _buffers_read(walk, buffers),
    )


def _buffers_read(walk: Walk, buffers: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return names of buffers that the values of the outputs depend on.

    Running statistics of a layer in training mode are written there, and not read.
    """
    assert isinstance(walk.module, fx.GraphModule)
    written, names = set(walk.overwritten.values()), set[str]()
    for node in walk.module.graph.nodes:
        if node.op == "get_attr" and node not in written:
            names.add(str(node.target))
        if node.op == "call_module":
            layer = walk.module.get_submodule(str(node.target))
            names |= {
                f"{node.target}.{name}"
                for name, one in layer.named_buffers()
                if one.is_floating_point()
                and (not layer.training or not name.startswith("running_"))
            }
    return tuple(name for name in buffers if name in names)


def _positioned(rule: Rule, positions: Tensor) -> Rule:
    """Return a rule with positions of scalars, of as many dimensions on either side."""
    ndim = len(rule.shape)
    out, into = (positions[one] for one in (rule.out, rule.into))
    return rule._replace(
        out=out.reshape((1,) * (ndim - out.ndim) + out.shape),
        into=into.reshape((1,) * (ndim - into.ndim) + into.shape),
    )


def _aliases(named: Mapping[str, Tensor], rules: tuple[Rule, ...]) -> dict[str, str]:
    own = {id(named[rule.name]): rule.name for rule in rules if rule.name in named}
    return {name: own[id(one)] for name, one in named.items() if id(one) in own}


def _check(**chosen: tuple[str, tuple[str, ...]]) -> None:
    for name, (value, known) in chosen.items():
        if value not in known:
            raise ValueError(f"{name} {value!r} is unknown; use {' or '.join(known)}")
