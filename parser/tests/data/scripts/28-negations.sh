#!/bin/sh
iptables -A INPUT ! -s 10.0.0.0/8 ! -i lo -j DROP
iptables -A INPUT '!' -p tcp -j DROP
iptables -A INPUT -p tcp \! --syn -j ACCEPT
iptables -A INPUT -p tcp ! --dport 22 -j REJECT
NOT="!"
iptables -A FORWARD $NOT -o eth0 -j DROP
