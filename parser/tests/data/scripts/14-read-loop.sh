#!/bin/sh
while read -r proto port comment; do
    iptables -A INPUT -p "$proto" --dport "$port" -m comment --comment "$comment" -j ACCEPT
done <<LIST
tcp 22 secure shell
tcp 80 web
udp 53 names of hosts
LIST
echo "10.0.0.1
10.0.0.2" | while read ip; do iptables -I INPUT -s $ip -j DROP; done
