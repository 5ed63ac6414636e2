#!/bin/bash
iptables-restore -n <<< "*filter
-A INPUT -s 10.0.0.1 -j ACCEPT
COMMIT"
RULES='*nat
-A OUTPUT -d 192.0.2.1 -j DNAT --to-destination 192.0.2.2
COMMIT'
echo "$RULES" | iptables-restore -n
iptables-restore -n <<<"$RULES"
