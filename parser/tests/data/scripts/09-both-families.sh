#!/bin/sh
for t in iptables ip6tables; do
    $t -P INPUT DROP
    $t -A INPUT -i lo -j ACCEPT
    $t -A INPUT -p tcp -m multiport --dports 22,80,443 -j ACCEPT
    $t -w 5 -A INPUT -m conntrack --ctstate INVALID -j DROP
done
iptables -A INPUT -p icmp --icmp-type echo-request -j ACCEPT
ip6tables -A INPUT -p icmpv6 --icmpv6-type echo-request -j ACCEPT
ip6tables -A INPUT -s fe80::1:2/10 -j ACCEPT
ip6tables -t nat -A POSTROUTING -s fd00::/64 -o eth0 -j MASQUERADE
