#!/bin/sh
start() {
    iptables -N web
    iptables -A web -p tcp --dport 80 -j ACCEPT
    iptables -A INPUT -j web
}
stop() {
    iptables -F
    iptables -X
}
case "${1:-start}" in
    start) start ;;
    stop) stop ;;
    restart) stop; start ;;
    *) echo "usage" ; exit 1 ;;
esac
exit 0
iptables -A INPUT -j DROP
