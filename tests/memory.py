"""How much memory tensors take while a piece of code runs, beside those that were there before."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class Live(TorchDispatchMode):
    """Count the bytes of storages made inside; `peak` is the most alive at one time."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._holders: dict[int, int] = {}  # storage -> tensors that look at it
        self._bytes: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._see(tensor)
        return found

    @property
    def now(self) -> int:
        return sum(self._bytes.values())

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key == 0 or key in self._known:
            return
        self._bytes[key] = storage.nbytes()
        self._holders[key] = self._holders.get(key, 0) + 1
        weakref.finalize(tensor, self._leave, key)
        self.peak = max(self.peak, self.now)

    def _leave(self, key: int) -> None:
        self._holders[key] -= 1
        if self._holders[key] == 0:
            del self._holders[key], self._bytes[key]
