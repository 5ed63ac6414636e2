#!/bin/sh
# Collects what nattrace needs to know of this host, and prints it: a snapshot in one file.
#
#   sudo sh nattrace-snapshot.sh > host.snapshot
#   ssh root@host sh -s < nattrace-snapshot.sh > host.snapshot
#
# It only reads: no file is written, no rule changed, no kernel module loaded. A tool that is
# missing leaves its part out. Of containers it tells names, addresses and ports, not their
# environment. `nattrace redact` replaces addresses and names before a snapshot is shown around.

LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export LC_ALL PATH

say() { printf 'nattrace snapshot: %s\n' "$*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

if timeout 5 true >/dev/null 2>&1; then
    within() { timeout 30 "$@"; }
else
    within() { "$@"; }
fi

# part NAME COMMAND...: what the command prints becomes a part, if it succeeds.
part() {
    name=$1
    shift
    if ! have "$1"; then
        say "$name is left out: $1 is not installed"
        return 1
    fi
    if ! text=$(within "$@" 2>/dev/null); then
        say "$name is left out: $* failed"
        return 1
    fi
    printf '#@ nattrace %s\n' "$name"
    [ -z "$text" ] || printf '%s\n' "$text"
}

# rules PREFIX: the rules of a family. iptables-save is one of two programs behind one name;
# the legacy one only prints tables that are there already.
rules() {
    legacy=
    case $1 in
    iptables) tables=/proc/net/ip_tables_names ;;
    *) tables=/proc/net/ip6_tables_names ;;
    esac
    [ -z "$(cat "$tables" 2>/dev/null)" ] || legacy=yes
    case $("$1-save" --version 2>/dev/null) in
    *nf_tables*)
        part "$1-save" "$1-save" -c
        [ -z "$legacy" ] || part "$1-legacy-save" "$1-legacy-save" -c
        ;;
    *)
        if have "$1-nft-save" && within "$1-nft-save" 2>/dev/null | grep -q '^[*]'; then
            part "$1-save" "$1-nft-save" -c
            part "$1-legacy-save" "$1-save" -c
        else
            part "$1-save" "$1-save" -c
        fi
        ;;
    esac
}

# query NAME ARGUMENTS...: JSON of ip, or its text where it is too old or busybox's own.
query() {
    name=$1
    shift
    part "$name" ip -j "$@" 2>/dev/null || part "$name" ip "$@"
}

# Read whole before anything runs: with `sh -s` a command must not eat the rest of this text.
collect() {
    [ "$(id -u)" = 0 ] || say "not run as root: rules and sockets will be missing"

    printf '# A snapshot by nattrace: complete if it ends with a line `#@ nattrace end`.\n'
    rules iptables
    rules ip6tables
    part nft-ruleset.json nft -j list ruleset
    part ipset-save ipset save
    part ip-addr.json ip -j -d addr 2>/dev/null || query ip-addr.json addr
    query ip-route.json route show table all
    query ip6-route.json -6 route show table all
    query ip-rule.json rule
    query ip6-rule.json -6 rule
    part bridge-link.json bridge -j -d link

    # The settings that decide about packets, as sysctl -a prints them: dots for slashes, and slashes
    # for the dots of an interface's name.
    printf '#@ nattrace sysctl\n'
    cd /proc/sys || exit 1
    grep -s '' \
        net/bridge/bridge-nf-call-arptables net/bridge/bridge-nf-call-ip6tables \
        net/bridge/bridge-nf-call-iptables net/bridge/bridge-nf-filter-vlan-tagged \
        net/bridge/bridge-nf-pass-vlan-input-dev net/ipv4/conf/*/accept_local \
        net/ipv4/conf/*/arp_filter net/ipv4/conf/*/arp_ignore net/ipv4/conf/*/drop_gratuitous_arp \
        net/ipv4/conf/*/drop_unicast_in_l2_multicast net/ipv4/conf/*/forwarding \
        net/ipv4/conf/*/mc_forwarding net/ipv4/conf/*/proxy_arp net/ipv4/conf/*/proxy_arp_pvlan \
        net/ipv4/conf/*/route_localnet net/ipv4/conf/*/rp_filter net/ipv4/conf/*/send_redirects \
        net/ipv4/conf/*/src_valid_mark net/ipv4/fib_multipath_hash_policy net/ipv4/fwmark_reflect \
        net/ipv4/icmp_echo_ignore_all net/ipv4/icmp_echo_ignore_broadcasts \
        net/ipv4/icmp_errors_use_inbound_ifaddr net/ipv4/ip_default_ttl net/ipv4/ip_forward \
        net/ipv4/ip_local_port_range net/ipv4/ip_nonlocal_bind net/ipv4/tcp_ecn \
        net/ipv4/tcp_fwmark_accept \
        net/ipv6/bindv6only net/ipv6/conf/*/disable_ipv6 net/ipv6/conf/*/forwarding \
        net/ipv6/conf/*/hop_limit net/ipv6/conf/*/mc_forwarding net/ipv6/conf/*/proxy_ndp \
        net/ipv6/conf/*/rpl_seg_enabled net/ipv6/conf/*/seg6_enabled net/ipv6/fwmark_reflect \
        net/ipv6/icmp/echo_ignore_all net/ipv6/icmp/echo_ignore_anycast \
        net/ipv6/icmp/echo_ignore_multicast \
        net/ipv6/ip_nonlocal_bind net/netfilter/nf_conntrack_checksum \
        net/netfilter/nf_conntrack_tcp_be_liberal net/netfilter/nf_conntrack_tcp_loose \
        /dev/null | sed -e 'h' -e 's/:.*//' -e 'y|./|/.|' -e 'G' -e 's/\n[^:]*:/ = /' | sort

    part listeners ss -Hlntup

    if ! have docker; then
        say "docker-inspect.json is left out: docker is not installed"
    elif ! within docker ps -q >/dev/null 2>&1; then
        say "docker-inspect.json is left out: docker does not answer"
    else
        # shellcheck disable=SC2046 # one word for each network
        part docker-network-inspect.json docker network inspect $(within docker network ls -q)
        # Without a container there is nothing to inspect, and the list is empty.
        # shellcheck disable=SC2046 # one word for each container
        objects=$(within docker inspect --type container --format \
            '{"Id":{{json .Id}},"Name":{{json .Name}},"State":{"Running":{{json .State.Running}} },"Config":{"Hostname":{{json .Config.Hostname}} },"HostConfig":{"NetworkMode":{{json .HostConfig.NetworkMode}},"PortBindings":{{json .HostConfig.PortBindings}} },"NetworkSettings":{{json .NetworkSettings}} }' \
            $(within docker ps -aq --no-trunc) 2>/dev/null)
        printf '#@ nattrace docker-inspect.json\n['
        printf '%s' "$objects" | sed -e '$!s/$/,/'
        printf ']\n'
    fi

    printf '#@ nattrace end\n'
}

collect </dev/null
