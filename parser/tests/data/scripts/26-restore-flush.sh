#!/bin/sh
iptables -P INPUT DROP
iptables -N mine
iptables -A INPUT -j mine
iptables -t nat -A POSTROUTING -j MASQUERADE
iptables-restore <<X
*filter
:FORWARD DROP [0:0]
-A FORWARD -j ACCEPT
COMMIT
X
