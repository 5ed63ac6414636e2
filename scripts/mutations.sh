#!/usr/bin/env bash
# Breaks one rule of the simulator after another in a copy of the working tree, and says after how
# many packets the kernel lab notices: a table for docs/fidelity.md. Needs root; no part of CI.
# Usage: scripts/mutations.sh [SEED [PACKETS [NAME…]]]
set -euo pipefail
cd "$(dirname "$0")/.."

seed=${1:-1}
packets=${2:-2000}
shift $(($# < 2 ? $# : 2))
wanted=("$@")
keep=(--no-shrink)
[ -z "${NATTRACE_MUTATIONS_KEEP:-}" ] || keep=(--cases "$NATTRACE_MUTATIONS_KEEP")

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$copy"
export CARGO_TARGET_DIR="${NATTRACE_MUTATIONS_TARGET:-$copy/target}"

# A mutation: its name, the file below model/src/simulate, what stands there, what it becomes.
failed=0
mutate() {
    local name=$1 file=$copy/model/src/simulate/$2 from=$3 to=$4
    if [ ${#wanted[@]} -gt 0 ] && [[ ! " ${wanted[*]} " == *" $name "* ]]; then
        return
    fi
    cp "$file" "$file.kept"
    FROM=$from TO=$to perl -0pi -e 's/\Q$ENV{FROM}\E/$ENV{TO}/' "$file"
    if cmp -s "$file" "$file.kept"; then
        echo "| $name | the place to break is not there any more |"
        failed=1
    else
        # Unused parts of what was broken are no matter.
        (cd "$copy" && cargo build -q -p nattrace-corpus --bin nattrace-lab 2>/dev/null)
        local said
        said=$("$CARGO_TARGET_DIR/debug/nattrace-lab" --seed "$seed" --packets "$packets" \
            --at-most 1 "${keep[@]}" | tail -n 1) || true
        case $said in
            *"the first after"*) echo "| $name | $(sed 's/.*the first after \([0-9]*\) packets.*/\1/' <<<"$said") |" ;;
            *)
                echo "| $name | not noticed: $said |"
                failed=1
                ;;
        esac
    fi
    mv "$file.kept" "$file"
}

echo "| broken | noticed after packets (seed $seed) |"
echo "|---|---|"
mutate nat-order trip.rs \
    'if nat_pending && self.is_behind(*id, base, nat_priority, "nat") {' \
    'if nat_pending && self.is_behind(*id, base, nat_priority + 1000, "nat") {'
mutate masquerade-address routing.rs \
    'let nearest = own.iter().find(|(_, holds_next_hop)| *holds_next_hop);' \
    'let nearest: Option<&(IpAddr, bool)> = None;'
mutate goto-return chain.rs \
    'Next::Goto(chain) => (current, index) = (chain, 0),' \
    'Next::Goto(chain) => { callers.push((current, index)); (current, index) = (chain, 0); }'
mutate second-pass-nat trip.rs \
    'is_some_and(|c| !c.is_settled(manip))' \
    'is_some()'
mutate br-netfilter path.rs \
    'Some(value) => Some(value != 0),' \
    'Some(_) => Some(false),'
mutate untracked-nat chain.rs \
    'self.tracking = Tracking::Untracked;' \
    'self.tracking = Tracking::None;'
mutate connmark-mask rewriting.rs \
    'shift.apply(connection.mark & ctmask);' \
    'shift.apply(connection.mark);'
mutate rp-filter-max decisions.rs \
    'host.sysctls.interface_max(Family::Ipv4, name, "rp_filter")' \
    'host.sysctls.interface(Family::Ipv4, name, "rp_filter")'
mutate redirect-address nat.rs \
    '.addresses.iter().find(fits)' \
    '.addresses.iter().rev().find(fits)'
mutate policy-after-return chain.rs \
    'Next::Return => match callers.pop() {
                    Some((caller, next)) => (current, index) = (caller, next),
                    None => {
                        self.ended(foresight, None);
                        return self.policy(hook, base, policy.policy);' \
    'Next::Return => match callers.pop() {
                    Some((caller, next)) => (current, index) = (caller, next),
                    None => {
                        self.ended(foresight, None);
                        return Ok(());'
exit $failed
