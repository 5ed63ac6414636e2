#!/bin/sh
iptables -t mangle -P FORWARD DROP
iptables -t mangle -A FORWARD -c 5 600 -j MARK --set-xmark 0x10/0xff
iptables -t mangle -Z FORWARD
iptables -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack
iptables -t security -A OUTPUT -j ACCEPT
iptables -P INPUT DROP
iptables -P INPUT ACCEPT
