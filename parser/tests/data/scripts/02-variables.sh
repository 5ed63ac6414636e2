#!/bin/sh
# A router.
IPT=/usr/sbin/iptables
LAN_IF="eth1"
WAN_IF='eth0'
LAN=192.168.1.0/24
LOG="-j LOG --log-level info"

$IPT -F
$IPT -t nat -F
"$IPT" -X
${IPT} -P FORWARD DROP
$IPT -A FORWARD -i $LAN_IF -o ${WAN_IF} -s "$LAN" -j ACCEPT
$IPT -A FORWARD -i "${WAN_IF}" -o "${LAN_IF}" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
$IPT -A FORWARD $LOG --log-prefix "forward denied: "
$IPT -t nat -A POSTROUTING -o $WAN_IF -s $LAN -j MASQUERADE
