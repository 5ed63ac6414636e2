#!/bin/sh
iptables -A INPUT \
    -p tcp \
    --dport 80 \
    -j ACCEPT   # a trailing comment
iptables -A INPUT -p tcp --dport 443 -j ACCEPT; iptables -A INPUT -j DROP
iptables -A FORWARD -m comment --comment 'single $quotes "kept"' -j ACCEPT &&
    iptables -A FORWARD -m comment --comment "double \"quotes\" kept" -j ACCEPT
iptables -A OUTPUT -m comment --comment it\'s\ one\ word -j ACCEPT
iptables -A OUTPUT -j LOG --log-prefix="equals: "
