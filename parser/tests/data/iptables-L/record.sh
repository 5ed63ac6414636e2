#!/bin/sh
# Records the listings beside this script from the `save` of each folder: loads it in a network
# namespace of its own and lists it. Needs root, iptables 1.8.9, ipset, and a kernel with all the
# extensions that the rules use.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
namespace=record-listings
inside="ip netns exec $namespace"
ip netns add $namespace
trap 'ip netns delete $namespace' EXIT
$inside ipset create hs hash:ip,port family inet
$inside ipset create hs6 hash:ip,port family inet6
for program in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do
    $inside $program-restore -c < "$here/$program/save"
    for options in "-L" "-L -n" "-L -v" "-L -n -v" "-L -n -v -x --line-numbers" "-L -v --line-numbers"; do
        file=$(echo "$options" | sed 's/--line-numbers/N/; s/[- ]//g')
        for table in raw mangle nat filter; do
            echo "# $program -t $table $options"
            # shellcheck disable=SC2086
            $inside $program -t $table $options 2> /dev/null
            echo
        done > "$here/$program/$file"
    done
    for table in raw mangle nat filter; do
        $inside $program -t $table -F
        $inside $program -t $table -X
    done
done
