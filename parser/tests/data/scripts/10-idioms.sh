#!/bin/bash
set -u
if [ "$EUID" -ne 0 ]; then
    echo "must be root" >&2
    exit 1
fi
command -v iptables >/dev/null 2>&1 || { echo "no iptables"; exit 1; }
IPTABLES=$(which iptables)
iptables -N LIMIT 2>/dev/null || true
iptables -N LIMIT 2>/dev/null || iptables -F LIMIT
iptables -C INPUT -j LIMIT 2>/dev/null || iptables -A INPUT -j LIMIT
iptables -C INPUT -j LIMIT 2>/dev/null || iptables -A INPUT -j LIMIT
if ! iptables -C FORWARD -j ACCEPT 2>/dev/null; then
    $IPTABLES -I FORWARD -j ACCEPT
fi
while iptables -D INPUT -s 10.0.0.1 -j DROP 2>/dev/null; do :; done
iptables -D OUTPUT -j NOTHERE 2>/dev/null
iptables -A LIMIT -m limit --limit 10/minute --limit-burst 20 -j RETURN
iptables -L -n >/dev/null
iptables -t nat -L >/dev/null
iptables-save >/dev/null
