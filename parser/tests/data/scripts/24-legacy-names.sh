#!/bin/sh
iptables-nft -A INPUT -p tcp --dport 80 -j ACCEPT
/usr/sbin/iptables-nft -t nat -A POSTROUTING -j MASQUERADE
ip6tables-nft -A FORWARD -j DROP
iptables-nft-restore -n <<X
*mangle
-A PREROUTING -j MARK --set-mark 7
COMMIT
X
