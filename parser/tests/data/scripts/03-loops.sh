#!/bin/bash
TCP_PORTS="80 443 8080"
UDP_PORTS=(53 123)
for p in $TCP_PORTS; do
    iptables -A INPUT -p tcp --dport $p -j ACCEPT
done
for p in "${UDP_PORTS[@]}"; do iptables -A INPUT -p udp --dport "$p" -j ACCEPT; done
for host in 10.0.0.{1,2,3}; do
    for proto in tcp udp; do
        iptables -A FORWARD -s $host -p $proto -j DROP
    done
done
for i in {1..3}; do iptables -A OUTPUT -d 172.16.$i.0/24 -j REJECT; done
i=0
while [ $i -lt 4 ]; do
    iptables -A OUTPUT -p tcp --dport $((9000 + i)) -j ACCEPT
    i=$((i+1))
done
