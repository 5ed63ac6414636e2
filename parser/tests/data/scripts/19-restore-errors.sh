#!/bin/sh
# errors: unknown-chain bad-position
iptables -A INPUT -s 10.0.0.1 -j ACCEPT
iptables-restore -n <<X
*filter
-A INPUT -s 10.0.0.2 -j ACCEPT
-A nowhere -j DROP
COMMIT
X
iptables-restore -n <<X
*filter
-A INPUT -s 10.0.0.3 -j ACCEPT
COMMIT
*nat
-I PREROUTING 5 -j ACCEPT
COMMIT
X
iptables -A INPUT -s 10.0.0.4 -j ACCEPT
