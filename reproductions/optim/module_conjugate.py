"""Rewrite a graph so that its operations are conjugated by factors that are kept as buffers."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from reproductions.optim.module_walk import Conjugation, Rule

PREFIX = "basis_"

Conjugations = Mapping[tuple[fx.Node, fx.Node | None], Conjugation]


class Conjugated:
    """A graph with factors on its edges and results.

    Args:
        graph: as traced.
        conjugations: by (node, edge), edge None for the node's result.
        overwritten: by node, the argument that it writes into: who reads that later reads the
            node's result, for a conjugated operation writes into a product instead.
        constants: tensors that tracing has made, by name.
    """

    def __init__(
        self,
        graph: fx.Graph,
        conjugations: Conjugations,
        overwritten: Mapping[fx.Node, fx.Node],
        constants: Mapping[str, Tensor],
    ) -> None:
        self._constants = constants
        self.graph = fx.Graph()
        self.rules: list[Rule] = []
        self._buffers: dict[tuple[object, ...], str] = {}
        now: dict[fx.Node, fx.Node] = {}
        for node in graph.nodes:
            own = {
                edge: self._times(now[edge], found)
                for edge in node.all_input_nodes
                if (found := conjugations.get((node, edge))) is not None
            }
            made = self.graph.node_copy(node, (now | own).__getitem__)
            result = conjugations.get((node, None))
            now[node] = made if result is None else self._times(made, result)
            if node in overwritten:
                before = now[overwritten[node]]
                now |= {key: now[node] for key, value in now.items() if value is before}

    def _times(self, node: fx.Node, factor: Conjugation) -> fx.Node:
        key = tuple(tuple(one.shape) + tuple(one.flatten().tolist()) for one in factor)
        if key not in self._buffers:
            self._buffers[key] = f"{PREFIX}{len(self._buffers)}"
            self.rules.append(Rule(self._buffers[key], factor.out, factor.into))
        buffer = self.graph.get_attr(self._buffers[key])
        return self.graph.call_function(torch.mul, (node, buffer))

    def build(self, module: nn.Module) -> fx.GraphModule:
        """Return a copy of a module with this graph, in no other basis yet: all factors are one.

        Raises:
            ValueError: where the module has a name that buffers of factors would take.
        """
        root = copy.deepcopy(module)
        some = next((one for one in root.parameters() if one.is_floating_point()), torch.ones(()))
        for name, constant in self._constants.items():
            if hasattr(root, name):
                raise ValueError(f"the module has something called {name}: rename it")
            root.register_buffer(name, constant.detach().clone())
        for rule in self.rules:
            if hasattr(root, rule.name):
                raise ValueError(f"the module has something called {rule.name}: rename it")
            factors = torch.ones(rule.shape, dtype=some.dtype, device=some.device)
            root.register_buffer(rule.name, factors)
        return fx.GraphModule(root, copy.deepcopy(self.graph), type(module).__name__)
