#!/bin/sh
allow() {
    # proto, port, source
    iptables -A INPUT -p "$1" --dport "$2" ${3:+-s $3} -j ACCEPT
}
block () { iptables -I INPUT -s "$1" -j DROP; }
function_with_default() {
    local chain=${1:-INPUT}
    iptables -A $chain -m comment --comment "checked $#" -j RETURN
}
allow tcp 22
allow tcp 3306 10.0.0.0/8
allow udp 1194 192.0.2.1
block 198.51.100.7
block 198.51.100.8
function_with_default
function_with_default FORWARD x y
