"""Build of the compiled operators; everything else is in pyproject.toml.

The extension is an ordinary shared library that registers its kernels with torch. It is built against the torch of
this environment, so build without isolation:

    pip install --no-build-isolation .        # or: python setup.py build_ext --inplace

Without torch or a C++ compiler the installation goes on, with the plain PyTorch operators.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
X86 = platform.machine().lower() in ("x86_64", "amd64")
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
ISA_FLAGS = {
    "kernels_avx2.cpp": ["-mavx2", "-mfma"],
    "kernels_avx512.cpp": AVX512,
    "kernels_avx512_bf16.cpp": [*AVX512, "-mavx512bf16"],
    "kernels_amx.cpp": [*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"],
}
FLAGS = ["-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wno-psabi"]
STABLE_SINCE = (2, 10)  # the first torch whose stable ABI has parallel_for


def sources() -> list[str]:
    """Return every C++ file, without the instruction sets of other processors."""
    names = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob("*.cpp"))
    return [name for name in names if X86 or Path(name).name not in ISA_FLAGS]


def headers() -> list[str]:
    """Return every C++ header; a source distribution takes them from here."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob("*.h"))


def torch_flags() -> tuple[list[str], list[str]]:
    """Return the flags to compile and to link against the torch of this environment.

    MAMBASEG_ABI=stable|classic overrides the choice of the ABI.
    """
    import torch
    from torch.utils.cpp_extension import include_paths, library_paths

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    stable = os.environ.get("MAMBASEG_ABI", "stable" if version >= STABLE_SINCE else "classic") == "stable"
    compile_flags = [f"-DMAMBASEG_STABLE_ABI={int(stable)}"]
    if stable:
        target = f"0x{STABLE_SINCE[0]:02x}{STABLE_SINCE[1]:02x}000000000000"
        compile_flags.append(f"-DTORCH_TARGET_VERSION={target}")
    compile_flags.append(f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}")
    compile_flags += [f"-isystem{path}" for path in include_paths()]
    link_flags = [f"-L{path}" for path in library_paths()]
    return compile_flags, [*link_flags, "-ltorch", "-ltorch_cpu", "-lc10"]


class BuildKernels(build_ext):
    """Build of each file with the flags of its instruction set; a failure is printed, not raised."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return a name without a Python version: the library holds no Python, so it serves every Python."""
        return os.path.join(*fullname.split(".")) + ".so"

    def run(self) -> None:
        """Build, or print in one message why not and what to do."""
        try:
            super().run()
        except Exception as error:
            if os.environ.get("MAMBASEG_REQUIRE_EXTENSION") == "1":
                raise
            reason = f"{type(error).__name__}: {error}"
            advice = "Install torch and g++ >= 11 here, then run `pip install --no-build-isolation .`"
            print(
                f"\nmambaseg: the compiled operators were NOT built ({reason}).\n"
                f"The plain PyTorch operators run instead, ten to twenty times slower on a CPU. {advice}\n",
                file=sys.stderr,
            )

    def build_extension(self, ext: Extension) -> None:
        """Compile every source of `ext` and link them."""
        compile_flags, link_flags = torch_flags()
        own_flags = shlex.split(os.environ.get("CXXFLAGS", ""))  # last, so that -O1 is not undone by ours

        def build(source: str) -> list[str]:
            extra = [*FLAGS, *ISA_FLAGS.get(Path(source).name, []), *compile_flags, *own_flags]
            return self.compiler.compile([source], output_dir=self.build_temp, extra_postargs=extra)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [name for names in pool.map(build, ext.sources) for name in names]
        target = self.get_ext_fullpath(ext.name)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        self.compiler.link_shared_object(objects, target, extra_postargs=link_flags, target_lang="c++")

    def get_outputs(self) -> list[str]:
        """Return only outputs that exist, so that an installation without the extension goes on."""
        return [path for path in super().get_outputs() if os.path.exists(path)]

    def copy_extensions_to_source(self) -> None:
        """Copy for --inplace, unless nothing was built."""
        names = [self.get_ext_filename(extension.name) for extension in self.extensions]
        if all(os.path.exists(os.path.join(self.build_lib, name)) for name in names):
            super().copy_extensions_to_source()


setup(
    ext_modules=[Extension("mambaseg_core._C", sources(), depends=headers(), language="c++")],
    cmdclass={"build_ext": BuildKernels},
)
