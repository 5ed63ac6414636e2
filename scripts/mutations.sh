#!/usr/bin/env bash
# Breaks one rule of the simulator after another and says after how many packets the kernel lab
# notices: the table of docs/fidelity.md. Everything that may break is built in a copy of the
# working tree at once; which of it is broken, a variable says. Needs root.
# Usage: scripts/mutations.sh [SEEDS [PACKETS [NAME…]]], SEEDS like `1,2,3`
set -euo pipefail
cd "$(dirname "$0")/.."

IFS=, read -r -a seeds <<<"${1:-1}"
packets=${2:-2000}
shift $(($# < 2 ? $# : 2))
wanted=("$@")
keep=(--no-shrink)
[ -z "${NATTRACE_MUTATIONS_KEEP:-}" ] || keep=(--cases "$NATTRACE_MUTATIONS_KEEP")

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$copy"
export CARGO_TARGET_DIR="${NATTRACE_MUTATIONS_TARGET:-$copy/target}"

cat >>"$copy/model/src/lib.rs" <<'RUST'
/// Whether this is broken on purpose.
pub(crate) fn mutant(name: &str) -> bool {
    static BROKEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    BROKEN.get_or_init(|| std::env::var("NATTRACE_MUTANT").unwrap_or_default()) == name
}
RUST

# A mutation: its name, the file below model/src/simulate, what stands there, what it becomes where
# BROKEN says whether this one is asked for. Without BROKEN both are expressions: the second takes
# the place of the first.
names=()
failed=0
mutate() {
    local name=$1 file=$copy/model/src/simulate/$2 from=$3 to=$4
    if [ ${#wanted[@]} -gt 0 ] && [[ ! " ${wanted[*]} " == *" $name "* ]]; then
        return
    fi
    [[ $to == *BROKEN* ]] || to="(if BROKEN { $to } else { $from })"
    to=${to//BROKEN/crate::mutant(\"$name\")}
    cp "$file" "$file.before"
    FROM=$from TO=$to perl -0pi -e 's/\Q$ENV{FROM}\E/$ENV{TO}/' "$file"
    if cmp -s "$file" "$file.before"; then
        echo "| $name | the place to break is not there any more |"
        failed=1
    else
        names+=("$name")
    fi
    rm "$file.before"
}

mutate nat-order trip.rs \
    'if nat_pending && self.is_behind(*id, base, nat_priority, "nat") {' \
    'if nat_pending && self.is_behind(*id, base, nat_priority + if BROKEN { 1000 } else { 0 }, "nat") {'
mutate masquerade-address routing.rs \
    'let nearest = own.iter().find(|(_, holds_next_hop)| *holds_next_hop);' \
    'let nearest = own.iter().find(|(_, holds_next_hop)| *holds_next_hop && !BROKEN);'
mutate goto-return chain.rs \
    'Next::Goto(chain) => (current, index) = (chain, 0),' \
    'Next::Goto(chain) => { if BROKEN { callers.push((current, index)); } (current, index) = (chain, 0); }'
mutate second-pass-nat trip.rs \
    'is_some_and(|c| !c.is_settled(manip))' \
    'is_some_and(|c| !c.is_settled(manip) || BROKEN)'
mutate br-netfilter path.rs \
    'Some(value) => Some(value != 0),' \
    'Some(value) => Some(value != 0 && !BROKEN),'
mutate untracked-nat chain.rs \
    'self.tracking = Tracking::Untracked;' \
    'self.tracking = if BROKEN { Tracking::None } else { Tracking::Untracked };'
mutate connmark-mask rewriting.rs 'shift.apply(connection.mark & ctmask)' 'shift.apply(connection.mark)'
mutate rp-filter-max decisions.rs \
    'host.sysctls.interface_max(Family::Ipv4, name, "rp_filter")' \
    'host.sysctls.interface(Family::Ipv4, name, "rp_filter")'
mutate redirect-address nat.rs \
    'host.interface(in_interface)?.addresses.iter().find(fits)' \
    'host.interface(in_interface)?.addresses.iter().rev().find(fits)'
mutate policy-after-return chain.rs \
    'None => return self.policy(hook, base, policy.policy),
                },' \
    'None => { if BROKEN { return Ok(()); } return self.policy(hook, base, policy.policy); }
                },'

# What else somebody may get wrong.
mutate dnat-port-range nat.rs \
    'let inside = (first..=last).contains(&own);' \
    'let inside = (first..=last).contains(&own) && !BROKEN;'
mutate base-port nat.rs \
    'Some(base) => u32::from(own.wrapping_sub(base)) % size,' \
    'Some(base) => if BROKEN { 0 } else { u32::from(own.wrapping_sub(base)) % size },'
mutate multiport-negation matching.rs \
    'PortSide::Either => source().or(destination),' \
    'PortSide::Either => if BROKEN && sense == Sense::IsNot { destination() } else { source().or(destination) },'
mutate state-of-later trip.rs \
    'Direction::Original if connection.seen_reply => TrackedState::Established,' \
    'Direction::Original if connection.seen_reply && !BROKEN => TrackedState::Established,'
mutate reply-state trip.rs \
    'connection.seen_reply = true;
                TrackedState::Established' \
    'connection.seen_reply = true;
                if BROKEN { TrackedState::New } else { TrackedState::Established }'
mutate output-reroute trip.rs \
    'kind == ChainKind::Route && key(&self.packet) != before' \
    'kind == ChainKind::Route && key(&self.packet) != before && !BROKEN'
mutate dnat-reroute trip.rs \
    'hook == Hook::Output && before.destination != self.packet.destination' \
    'hook == Hook::Output && before.destination != self.packet.destination && !BROKEN'
mutate ttl-before-forward path.rs \
    'self.packet.ttl = self.packet.ttl.saturating_sub(1);' \
    'self.packet.ttl = self.packet.ttl.saturating_sub(if BROKEN { 0 } else { 1 });'
mutate ttl-expiry path.rs 'if self.packet.ttl <= 1 {' 'if self.packet.ttl <= if BROKEN { 2 } else { 1 } {'
mutate martian-loopback decisions.rs \
    'source.is_loopback() && !limited && !localnet()' \
    'source.is_loopback() && !limited && !localnet() && !BROKEN'
mutate martian-own routing.rs \
    'let own = !settings.accept_local && is_own_address(host, packet.source);' \
    'let own = !settings.accept_local && is_own_address(host, packet.source) && !BROKEN;'
mutate zones connection.rs 'if zone != self.zone {' 'if zone != self.zone && !BROKEN {'
mutate in-interface-negation matching.rs \
    'sense.apply(pattern.matches(self.in_interface)).into()' \
    'pattern.matches(self.in_interface).into()'
mutate physdev-bridged matching.rs \
    'PhysdevCondition::IsBridged => self.bridged.into(),' \
    'PhysdevCondition::IsBridged => if BROKEN { is_in.into() } else { self.bridged.into() },'
mutate physdev-in path.rs \
    'self.physical_in = PhysicalPort::Of(arrival.interface);' \
    'self.physical_in = if BROKEN { PhysicalPort::None } else { PhysicalPort::Of(arrival.interface) };'
mutate set-direction membership.rs \
    'SetDirection::Source => packet.source,
        SetDirection::Destination => packet.destination,' \
    'SetDirection::Source => if BROKEN { packet.destination } else { packet.source },
        SetDirection::Destination => if BROKEN { packet.source } else { packet.destination },'
mutate set-nomatch membership.rs '(nomatch == inverted).into()' 'true.into()'
mutate free-choice matching.rs \
    'Condition::Undecided(why) => Ternary::May(*why),' \
    'Condition::Undecided(why) => if BROKEN { Ternary::No } else { Ternary::May(*why) },'
mutate netmap-mask nat.rs 'address.to_bits() & !mask | network' '*network'
mutate netmap-mask6 nat.rs 'address.to_bits() & !prefix.1 | prefix.0' 'prefix.0'
mutate reject-type consequence.rs \
    'self.reject_with_error(travelled, sent, origin, (kind, code))' \
    'self.reject_with_error(travelled, sent, origin, if BROKEN && packet.protocol == protocol::TCP { (kind, 3) } else { (kind, code) })'
mutate fwmark-routing routing.rs \
    'rule.mark.is_none_or(|(value, mask)| key.mark & mask == value & mask)' \
    'rule.mark.is_none_or(|(value, mask)| key.mark & mask == value & mask && !BROKEN)'
mutate hairpin path.rs 'if !hairpin {' 'if !hairpin && !BROKEN {'
mutate isolated path.rs \
    'if !known_free && self.port_flag' \
    'if !BROKEN && !known_free && self.port_flag'
mutate reply-untranslated connection.rs \
    'Direction::Reply => self.original.inverted(),' \
    'Direction::Reply => if BROKEN { self.reply } else { self.original.inverted() },'
mutate mark-mask chain.rs \
    'self.packet.mark = (self.packet.mark & !mask) ^ value;' \
    'self.packet.mark = if BROKEN { *value } else { (self.packet.mark & !mask) ^ value };'
mutate tos-mask chain.rs \
    'self.packet.tos = (self.packet.tos & !mask) ^ value;' \
    'self.packet.tos = if BROKEN { *value } else { (self.packet.tos & !mask) ^ value };'
mutate snat-state matching.rs \
    'if connection.source_translated {
                    state |= connection_state::SNAT;' \
    'if connection.source_translated && !BROKEN {
                    state |= connection_state::SNAT;'
mutate status-without-connection matching.rs \
    'ConnectionCondition::Status(mask) => {
                let has = connection.status() & mask != 0;' \
    'ConnectionCondition::Status(mask) => {
                let has = connection.status() & mask != 0 || BROKEN;'
mutate addrtype-limit address_type.rs \
    'if elsewhere {
        return address_type::UNICAST;' \
    'if elsewhere && !BROKEN {
        return address_type::UNICAST;'
mutate range-hash nat.rs '(c ^ b).wrapping_sub(b.rotate_left(24))' '(c ^ b)'
mutate persistent nat.rs \
    'if options.persistent {
        return 0;' \
    'if options.persistent && !BROKEN {
        return 0;'
mutate redirect-local nat.rs 'if hook == Hook::Output {' 'if hook == Hook::Output && !BROKEN {'
mutate tcp-loose connection.rs '(asks == tcp_flag::ACK && loose)' '(asks == tcp_flag::ACK && (loose || BROKEN))'
mutate error-tos reply.rs 'about.tos & 0x1e | 0xc0' 'about.tos'
mutate error-source reply.rs \
    'if addressed {
            return ErrorSource::Addressed' \
    'if addressed && !BROKEN {
            return ErrorSource::Addressed'
mutate group-forwarded path.rs \
    'if self.delivery != LinkDelivery::Unicast {
            // kernel-facts D8' \
    'if self.delivery != LinkDelivery::Unicast && !BROKEN {
            // kernel-facts D8'
mutate masquerade-interface trip.rs \
    'Some(by) if by != out && self.maker != Maker::IcmpError => {' \
    'Some(by) if by != out && self.maker != Maker::IcmpError && !BROKEN => {'
mutate source-prefix6 routing.rs \
    'let common = (own.to_bits() ^ to.to_bits()).leading_zeros().min(a.subnet.length());' \
    'let common = if BROKEN { 0 } else { (own.to_bits() ^ to.to_bits()).leading_zeros().min(a.subnet.length()) };'
mutate reflected-mark settings.rs \
    'if is_on(&self.system.host, setting) { about.mark } else { 0 }' \
    'if is_on(&self.system.host, setting) && !BROKEN { about.mark } else { 0 }'
mutate default-ttl settings.rs \
    'setting.and_then(|value| u8::try_from(value).ok()).unwrap_or(USUAL_TTL)' \
    'setting.and_then(|value| u8::try_from(value).ok()).filter(|_| !BROKEN).unwrap_or(USUAL_TTL)'
mutate echo-ignored settings.rs \
    'is_on(host, "net.ipv4.icmp_echo_ignore_all")' \
    'is_on(host, "net.ipv4.icmp_echo_ignore_all") && !BROKEN'
mutate flooded-nat flood.rs '(0..copies.min(MOST_COPIES))' '(0..if BROKEN { 0 } else { copies.min(MOST_COPIES) })'

# Unused parts of what is broken are no matter.
(cd "$copy" && cargo build -q -p nattrace-corpus --bin nattrace-lab 2>"$copy/errors") || {
    cat "$copy/errors" >&2
    exit 2
}

# What the lab says of so many packets, with one rule broken, or with none.
ask() {
    NATTRACE_MUTANT=$1 "$CARGO_TARGET_DIR/debug/nattrace-lab" --seed "$2" --packets "$packets" \
        --at-most 1 "${keep[@]}" | tail -n 1
}

for seed in "${seeds[@]}"; do
    said=$(ask nothing "$seed") || {
        echo "nothing is broken, and the lab does not agree: $said" >&2
        exit 2
    }
done
echo "| broken |$(printf ' seed %s |' "${seeds[@]}")"
echo "|---|$(printf -- '---|%.0s' "${seeds[@]}")"
for name in "${names[@]}"; do
    row="| \`$name\` |"
    for seed in "${seeds[@]}"; do
        said=$(ask "$name" "$seed") || true
        case $said in
            *"the first after"*) row+=" $(sed 's/.*the first after \([0-9]*\) packets.*/\1/' <<<"$said") |" ;;
            *" agree "*)
                row+=" not noticed |"
                failed=1
                ;;
            *)
                echo "the lab did not run: $said" >&2
                exit 2
                ;;
        esac
    done
    echo "$row"
done
exit $failed
