#!/bin/sh
iptables -N old
iptables -A INPUT -p tcp -j old
iptables -A FORWARD -g old
iptables -E old new
iptables -A new -j LOG
iptables -N old
iptables -A new -j old
