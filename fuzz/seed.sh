#!/bin/sh
# Copies real listings into corpus/TARGET, where cargo-fuzz looks for them.
set -eu
cd "$(dirname "$0")"

# seed TARGET FILE...: copies files that are there, under names of their own.
seed() {
    target=$1
    shift
    mkdir -p "corpus/$target"
    for file in "$@"; do
        [ -f "$file" ] || continue
        name=$(printf '%s' "${file#../}" | tr '/' '_')
        cp "$file" "corpus/$target/$name"
    done
}

cases=../corpus/cases
data=../parser/tests/data
seed rules $cases/*/iptables-save $cases/*/ip6tables-save $cases/*/iptables-S $cases/*/iptables-L \
    $data/dumps/* ../tests/bad-input/*.rules
seed listing $cases/*/iptables-L $cases/*/iptables-Lnv $data/iptables-L/*/*
seed ip_addr $cases/*/ip-addr $cases/*/ip-addr.json $data/listings/ip-addr* $data/listings/ip-link*
seed ip_route $cases/*/ip-route $cases/*/ip-route.json $data/listings/ip-route* \
    $data/listings/route-* $data/listings/netstat-*
seed ip_rule $cases/*/ip-rule* $data/listings/ip*-rule*
seed bridge $cases/*/bridge-link* $data/listings/bridge-link*
seed sysctl $cases/*/sysctl
seed ss $cases/*/listeners
seed ipset $cases/*/ipset-save $data/listings/ipset-save
seed docker_networks $cases/*/docker-network-inspect.json
seed docker_containers $cases/*/docker-inspect.json
mkdir -p corpus/nftables
grep -v '^#' ../parser/src/host/nftables/rules.tsv | cut -f1 | while IFS= read -r rule; do
    printf '{"nftables": [{"rule": %s}]}\n' "$rule" \
        >"corpus/nftables/$(printf '%s' "$rule" | cksum | cut -d' ' -f1)"
done
seed zones $cases/*/zones.toml
seed policy $cases/*/policy.toml

mkdir -p corpus/snapshot corpus/endpoint corpus/conntrack corpus/zones corpus/why
for case in "$cases"/*; do
    for part in "$case"/*; do
        case $part in
        *observed* | *.md | *.toml | *docker*) continue ;;
        esac
        printf '#@ nattrace %s\n' "$(basename "$part")"
        head -n 40 "$part"
    done >"corpus/snapshot/$(basename "$case")"
    # SOURCE and DESTINATION of a question, a line each.
    sed -n '1,4s/.*"src": *"\([^"]*\)".*"dst": *"\([^"]*\)".*/\1\n\2/p' "$case/observed.jsonl" \
        2>/dev/null | head -n 2 >"corpus/endpoint/$(basename "$case")"
done
printf 'web:80/tcp\n[2001:db8::1]:53/udp\neth0\n40000\n\n\nestablished\n0x10\nSYN,ACK\n' >corpus/endpoint/full
printf 'host\ninternet\n\n\n\nicmp\n\n\n\necho-request\n' >corpus/endpoint/icmp
printf 'lan:eth0\n172.18.0.0/16\n\n\n443\n6\nuntracked\n' >corpus/endpoint/prefix
printf '[zones.office]\nvia = ["eth1"]\nnets = ["192.168.12.0/24"]\nroutes = ["172.17.0.0/16"]\n' \
    >corpus/zones/office
printf '%s\n' 'ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=1.1.1.1 sport=40000 dport=443 src=1.1.1.1 dst=192.0.2.1 sport=443 dport=40000 [ASSURED] mark=0 use=1' \
    'ipv4     2 icmp     1 29 src=10.0.0.2 dst=1.1.1.1 type=8 code=0 id=7 [UNREPLIED] src=1.1.1.1 dst=10.0.0.2 type=0 code=0 id=7 mark=0 use=1' \
    >corpus/conntrack/two
