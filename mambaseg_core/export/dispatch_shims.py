"""C functions through which code of AOTInductor calls our operators: `aoti_torch_DEVICE_NAME`.

Without them it calls an operator of ours through an object that only torch's own loader makes, and that loader holds
Python's lock while a network runs.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from mambaseg_core.ops import fused, scan

__all__ = ["fused", "scan", "shims"]  # define the operators

_TENSORS: Final = {"Tensor": "AtenTensorHandle", "Optional[Tensor]": "AtenTensorHandle*"}
_NUMBERS: Final = {"int": ("int64_t", "int64_t"), "float": ("double", "double"), "bool": ("int32_t", "bool")}
"""C types of a number: as AOTInductor passes it, and as the dispatcher takes it."""

# A tensor on the dispatcher's stack belongs to it, and so does the memory of an argument that may be absent.
_FUNCTION: Final = """
AOTITorchError aoti_torch_{device}_{name}({parameters}, AtenTensorHandle* result) {{
  const auto word = [](auto value) {{
    StableIValue found = 0;
    std::memcpy(&found, &value, sizeof(value));
    return found;
  }};
  const auto own = [&](AtenTensorHandle tensor) {{
    AtenTensorHandle copy = nullptr;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_new_tensor_handle(tensor, &copy));
    return word(copy);
  }};
  const auto maybe = [&](AtenTensorHandle* tensor) {{ return tensor ? word(new StableIValue(own(*tensor))) : 0; }};
  StableIValue stack[] = {{{values}}};
  const AOTITorchError error = aoti_torch_call_dispatcher("mambaseg::{name}", "", stack);
  if (!error) std::memcpy(result, stack, sizeof(*result));
  return error;
}}"""


def shims(device: str) -> dict[Any, list[str]]:
    """Return the C++ of a function for each operator of `mambaseg` that maps tensors and numbers to one tensor.

    The form is that of `torch._inductor.config.aot_inductor.custom_ops_to_c_shims`.

    Args:
        device: "cpu" or "cuda".
    """
    found = {}
    for schema in torch._C._jit_get_all_schemas():
        space, _, name = schema.name.partition("::")
        arguments = [(argument.name, str(argument.type)) for argument in schema.arguments]
        kinds = {kind for _, kind in arguments}
        returned = [str(value.type) for value in schema.returns]
        if space == "mambaseg" and returned == ["Tensor"] and "Tensor" in kinds <= {*_TENSORS, *_NUMBERS}:
            found[getattr(torch.ops.mambaseg, name).default] = [_shim(name, arguments, device)]
    return found


def _shim(name: str, arguments: list[tuple[str, str]], device: str) -> str:
    parameters, values = [], []
    for argument, kind in arguments:
        if kind in _TENSORS:
            parameters.append(f"{_TENSORS[kind]} {argument}")
            values.append(f"own({argument})" if kind == "Tensor" else f"maybe({argument})")
        else:
            passed, taken = _NUMBERS[kind]
            parameters.append(f"{passed} {argument}")
            values.append(f"word(static_cast<{taken}>({argument}))")
    return _FUNCTION.format(device=device, name=name, parameters=", ".join(parameters), values=", ".join(values))
