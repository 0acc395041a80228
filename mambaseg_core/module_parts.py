"""What a network consists of, by identity, so that a change is noticed."""

from __future__ import annotations

import operator
from collections import deque
from typing import Any

from torch import nn
from torch.nn.modules import module as every

_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}


class ModuleParts:
    """All modules in a model, and their attributes by identity, with the items of lists and dicts among them.

    Attributes:
        hooks: Those on the forward pass of each module and of every module.
    """

    def __init__(self, model: nn.Module) -> None:
        self.hooks: list[Any] = [every._global_forward_hooks, every._global_forward_pre_hooks]
        self._containers: list[Any] = [*self.hooks]
        self._modules = list(model.modules())
        self._types = list(map(type, self._modules))
        for module in self._modules:
            hooks = [module._forward_hooks, module._forward_pre_hooks]
            self.hooks += hooks
            self._containers += [vars(module), module._parameters, module._buffers, module._modules, *hooks]
            own = [value for key, value in vars(module).items() if key not in _OF_EVERY_MODULE]
            self._containers += [value for value in own if isinstance(value, (list, dict, deque))]
        self._lengths = list(map(len, self._containers))
        items = [(held, key, value) for held in self._containers for key, value in _items(held)]
        self._holders, self._keys, self._values = zip(*items, strict=True)

    def unchanged(self) -> bool:
        """Return True if nothing was replaced, added or hooked since; a thousand items take 0.04 ms."""
        try:
            same = all(map(operator.is_, map(operator.getitem, self._holders, self._keys), self._values))
        except (KeyError, IndexError):
            return False
        same = same and list(map(len, self._containers)) == self._lengths
        return same and list(map(type, self._modules)) == self._types


def _items(held: Any) -> list[tuple[Any, Any]]:
    """Return the items of a list by number, of a dict by key, without what every module has."""
    if not isinstance(held, dict):
        return list(enumerate(held))
    return [(key, value) for key, value in held.items() if key not in _OF_EVERY_MODULE]
