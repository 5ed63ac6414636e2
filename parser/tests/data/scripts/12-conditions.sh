#!/bin/sh
MODE=strict
IPV6=no
EXTRA=""
if [ "$MODE" = "strict" ]; then
    iptables -P INPUT DROP
elif [ "$MODE" = "open" ]; then
    iptables -P INPUT ACCEPT
else
    iptables -P OUTPUT DROP
fi
[ "$IPV6" = yes ] && ip6tables -P INPUT DROP
[ -n "$EXTRA" ] && iptables -A INPUT -s $EXTRA -j ACCEPT
[ -z "$EXTRA" ] || iptables -A INPUT -j DROP
test "$MODE" != "open" && iptables -A INPUT -p tcp -j REJECT --reject-with tcp-reset
case $MODE in
    open) iptables -A FORWARD -j ACCEPT ;;
    str*) iptables -A FORWARD -j DROP ;;
    *) iptables -A FORWARD -j REJECT ;;
esac
false || iptables -A OUTPUT -p tcp -j ACCEPT
true && iptables -A OUTPUT -p udp -j ACCEPT
! false && iptables -A OUTPUT -p icmp -j ACCEPT
