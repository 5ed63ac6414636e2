#!/bin/sh
BAD="192.0.2.1,192.0.2.2,198.51.100.0/24"
iptables -A INPUT -s $BAD -j DROP
iptables -I INPUT -s 10.0.0.1,10.0.0.2 -d 10.1.0.1,10.1.0.2 -j ACCEPT
iptables -D INPUT -s 192.0.2.2,198.51.100.0/24 -j DROP
iptables -I INPUT 2 -s 172.16.0.1,172.16.0.2 -j REJECT
