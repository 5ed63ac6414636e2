#!/bin/bash
for table in filter nat mangle raw; do
    iptables -t $table -F
    iptables -t $table -X
done
iptables -t mangle -A PREROUTING -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400
iptables -t mangle -F
iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to 10.0.0.1
iptables -t nat -N x
iptables -t nat -A x -j RETURN
iptables -t nat -F
iptables -t nat -X
