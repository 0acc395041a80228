#!/usr/bin/env bash
# Reads ONNX files with the parser of TensorRT-RTX, and with --build makes their engines; neither needs a GPU.
# Usage: tools/tensorrt_rtx/run.sh [--build] FILE.onnx ...
# The libraries come from a wheel on PyPI (170 MB), the headers from github.com/NVIDIA/TensorRT, both once, into
# out/tensorrt_rtx. TENSORRT_INCLUDE names a folder that has those headers, CUDA_INCLUDE one with cuda_runtime_api.h;
# without it that of the Python package triton is taken.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
place=$(cd "$here/../.." && pwd)/out/tensorrt_rtx
python=${PYTHON:-python}
version=1.7.1 wheel=onnxruntime-ep-nv-tensorrt-rtx-cu12==0.5.0 # that version of the library is in that wheel
build=
if [ "${1:-}" = --build ]; then build=--build; shift; fi
if [ $# = 0 ]; then sed -n '2,6s/^# //p' "$0"; exit 2; fi
libraries=$place/site/onnxruntime_ep_nv_tensorrt_rtx
if [ ! -e "$libraries/libtensorrt_rtx.so.$version" ]; then
  "$python" -m pip install --quiet --no-deps --target "$place/site" "$wheel"
  for name in libtensorrt_rtx libtensorrt_onnxparser_rtx; do
    ln -sf "$name.so.$version" "$libraries/$name.so.${version%%.*}"
    ln -sf "$name.so.$version" "$libraries/$name.so"
  done
fi
tensorrt=${TENSORRT_INCLUDE:-$place/headers/include}
[ -d "$tensorrt" ] ||
  git clone --quiet --depth 1 --branch v11.1 https://github.com/NVIDIA/TensorRT "$place/headers"
cuda=${CUDA_INCLUDE:-$("$python" -c 'import triton; print(triton.__path__[0])')/backends/nvidia/include}
IFS=. read -r major minor patch <<< "$version"
if [ "$here/probe.cpp" -nt "$place/probe" ]; then
  g++ -std=c++17 -O1 -Wall -DRTX_MAJOR="$major" -DRTX_MINOR="$minor" -DRTX_PATCH="$patch" \
    -isystem "$tensorrt" -isystem "$cuda" "$here/probe.cpp" -o "$place/probe" \
    -L"$libraries" -ltensorrt_rtx -ltensorrt_onnxparser_rtx -Wl,-rpath,"$libraries"
fi
failed=0
for file in "$@"; do "$place/probe" "$file" $build || failed=1; done
exit $failed
