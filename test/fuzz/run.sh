#!/usr/bin/env bash
# Fuzzes every decoder and the CDR reader with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer (clang).
# Usage: test/fuzz/run.sh [SECONDS for each, default 120] [TARGET ...]
# Prints a line a target; the first finding ends the run, and its input is kept in the folder that is named.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-120}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(evt3 evt2 evt21 evt21_legacy libcaer libcaer_cmp mono cdr)
export ASAN_OPTIONS=quarantine_size_mb=16
work=$(mktemp -d "${TMPDIR:-/tmp}/mambaseg-fuzz.XXXXXX")
flags=(-std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
for target in "${targets[@]}"; do
  source=test/fuzz/fuzz_decoder.cpp
  [ "$target" = cdr ] && source=test/fuzz/fuzz_cdr.cpp
  "${CXX:-clang++}" "${flags[@]}" -DMAMBASEG_ENCODING="$target" "$source" csrc/cpu/event_codec_*.cpp -o "$work/$target"
  mkdir -p "$work/$target.corpus"
  if ! "$work/$target" -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -timeout=5 -print_final_stats=1 \
    -artifact_prefix="$work/$target-" "$work/$target.corpus" 2> "$work/$target.log"; then
    tail -n 40 "$work/$target.log"
    echo "$target: FOUND, see $work"
    exit 1
  fi
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")
  memory=$(sed -n 's/^stat::peak_rss_mb: *//p' "$work/$target.log")
  echo "$target: $executions executions in $seconds s, nothing found (peak memory $memory MB)"
done
rm -rf "$work"
