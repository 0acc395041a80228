#!/usr/bin/env bash
# Builds the C++ operators with AddressSanitizer and UndefinedBehaviorSanitizer in a copy and runs their tests there.
# Usage: tools/asan.sh [pytest arguments]      PYTHON=... chooses the interpreter (with torch, numpy and pytest)
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r mambaseg_core test csrc setup.py pyproject.toml README.md "$copy"
cd "$copy"
rm -f mambaseg_core/_C.so
flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1"
CXXFLAGS=$flags CFLAGS=$flags LDFLAGS="-fsanitize=address,undefined" MAMBASEG_REQUIRE_EXTENSION=1 \
  "$python" setup.py -q build_ext --inplace
# Python is not instrumented, so the libraries are preloaded. It holds memory until it exits, so leaks are not detected.
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0
PYTHONPATH=. "$python" -m pytest -q -p no:cacheprovider test/ops/test_scan.py test/ops/test_scan_robust.py \
  test/ops/test_voxel_grid.py test/ops/test_area_resize.py \
  test/ops/test_fused_maps.py test/ops/test_fused_dense.py test/ops/test_fused_bfloat16.py test/ops/test_checksums.py \
  -k "not refer" "$@"
