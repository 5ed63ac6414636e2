#!/usr/bin/env bash
# Installs what the tests need (Debian, root) and runs every check: formatting, lints, all tests,
# the kernel lab, the documentation. Where root or a kernel feature is missing, the tests that need
# it are skipped, counted and printed; with CI=true a skip is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

packages=(iptables nftables ipset conntrack iproute2 procps busybox-static dash faketime graphviz libz3-dev z3)
# Docker itself is asked too; a daemon that came from elsewhere will do.
command -v dockerd >/dev/null || packages+=(docker.io)
step "packages: ${packages[*]}"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    missing=()
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' \
            || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
    fi
    # Newer releases have the client in a package of its own.
    command -v docker >/dev/null \
        || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq docker-cli >/dev/null
    echo "all there"
else
    echo "not root, or no apt-get: what is missing shows as skipped tests"
fi

step "formatting"
cargo fmt --all -- --check

step "lints"
cargo clippy --workspace --all-features -- -D warnings
# Tests and benchmarks may fail loudly, print, and go without documentation.
cargo clippy --workspace --all-targets --all-features -- -D warnings \
    -A clippy::unwrap_used -A clippy::expect_used -A clippy::panic -A clippy::indexing_slicing \
    -A clippy::string_slice -A clippy::print_stdout -A clippy::print_stderr \
    -A clippy::iter_over_hash_type -A missing_docs \
    -A unreachable_pub -A unfulfilled_lint_expectations

# Random rules and packets are drawn anew for every change of the code, and alike in every run of
# one, so that what failed once can be repeated. Other seeds: NATTRACE_LAB_SEED=… scripts/test.sh
code_of_commit() { git rev-parse HEAD:parser HEAD:model HEAD:verifier; }
code_seed=$((16#$(code_of_commit 2>/dev/null | sha256sum | cut -c1-8)))
export NATTRACE_LAB_SEED="${NATTRACE_LAB_SEED:-$code_seed}"
export NATTRACE_NATIVE_SEED="${NATTRACE_NATIVE_SEED:-$code_seed}"
export NATTRACE_JUDGE_SEED="${NATTRACE_JUDGE_SEED:-$code_seed}"
export NATTRACE_LAW_SEED="${NATTRACE_LAW_SEED:-$code_seed}"
export NATTRACE_LAB_PACKETS="${NATTRACE_LAB_PACKETS:-6000}"
NATTRACE_SKIPS=$(mktemp)
export NATTRACE_SKIPS
trap 'rm -f "$NATTRACE_SKIPS"' EXIT
step "tests, with the kernel lab: $NATTRACE_LAB_PACKETS packets, NATTRACE_LAB_SEED=$NATTRACE_LAB_SEED"
cargo test --workspace --all-features

skipped=$(wc -l <"$NATTRACE_SKIPS")
step "tests that could not run here: $skipped"
cat "$NATTRACE_SKIPS"

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features

step "done"
