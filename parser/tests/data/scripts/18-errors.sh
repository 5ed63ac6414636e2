#!/bin/sh
# errors: chain-exists no-such-rule bad-position unknown-chain chain-in-use invalid-policy drop-in-nat unknown-chain bad-position
iptables -N A
iptables -N A
iptables -D INPUT -j ACCEPT
iptables -I INPUT 2 -j ACCEPT
iptables -A NOPE -j ACCEPT
iptables -A INPUT -j A
iptables -X A
iptables -P A DROP
iptables -t nat -P PREROUTING DROP
iptables -A INPUT -j NOPE
iptables -D INPUT 2
iptables -A INPUT -p tcp -j ACCEPT
