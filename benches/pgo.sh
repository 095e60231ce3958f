#!/bin/bash
# Builds harmony-edge with profile-guided optimization: builds it with counters, trains it with the load bench, and builds it again for what was counted.
# The binary is target/pgo/TRIPLE/PROFILE/harmony-edge, where PROFILE is dist, or what the variable says. Needs nginx, wrk, and `rustup component add llvm-tools`.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-dist}
triple=$(rustc -vV | sed -n 's/^host: //p')
merge=$(rustc --print sysroot)/lib/rustlib/$triple/bin/llvm-profdata
[ -x "$merge" ] || { echo "pgo.sh: no llvm-profdata: rustup component add llvm-tools" >&2; exit 1; }
counts=$PWD/target/pgo/counts
rm -rf "$counts"

# With --target, what runs at build time has no counters. Each run of a program writes a file of its own; what ends by a kill writes none.
export CARGO_TARGET_DIR=target/pgo
CARGO_ENCODED_RUSTFLAGS="-Cprofile-generate=$counts" LLVM_PROFILE_FILE=$counts/%p-%m.profraw ROUNDS=1 SECONDS=3 \
  cargo bench --locked --profile "$profile" --target "$triple" --bench load -- "no authentication" echo JWT "API key" TLS
"$merge" merge -o "$counts/merged.profdata" "$counts"/*.profraw
export CARGO_ENCODED_RUSTFLAGS="-Cprofile-use=$counts/merged.profdata"
cargo build --locked --profile "$profile" --target "$triple"
# Those of the bench, bare Pingora's among them, are built the same way: `BENCH=1 benches/pgo.sh` goes on to compare.
if [ -n "${BENCH:-}" ]; then
  cargo bench --locked --profile "$profile" --target "$triple" --bench load "$@"
fi
