#!/bin/sh
(
    iptables -A INPUT -p tcp --dport 1 -j ACCEPT
)
{ iptables -A INPUT -p tcp --dport 2 -j ACCEPT; iptables -A INPUT -p tcp --dport 3 -j ACCEPT; }
iptables -A INPUT -p tcp --dport 4 -j ACCEPT > /dev/null 2>&1
LC_ALL=C iptables -A INPUT -p tcp --dport 5 -j ACCEPT
env FOO=bar iptables -A INPUT -p tcp --dport 6 -j ACCEPT
PORTS=$(echo 7 8)
for p in $PORTS; do iptables -A INPUT -p tcp --dport $p -j ACCEPT; done
for p in $(seq 20 22); do iptables -A INPUT -p udp --dport $p -j ACCEPT; done
eval iptables -A INPUT -p udp --dport 9 -j ACCEPT
until iptables -C OUTPUT -j ACCEPT 2>/dev/null; do iptables -A OUTPUT -j ACCEPT; done
