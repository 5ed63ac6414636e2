#!/bin/sh
iptables -N A
iptables -N B
iptables -A A -s 10.0.0.1 -j DROP
iptables -A A -s 10.0.0.2 -j DROP
iptables -A A -s 10.0.0.3 -j B
iptables -I A 2 -s 10.0.0.4 -j ACCEPT
iptables -R A 1 -s 10.0.0.9 -j REJECT
iptables -D A -s 10.0.0.2/32 -j DROP
iptables -D A 1
iptables -E A Z
iptables -A INPUT -j Z
iptables -A INPUT -g B
iptables -I INPUT -p tcp -j Z
iptables -F B
iptables -Z
