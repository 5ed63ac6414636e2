#!/bin/bash
echo "*filter
:FORWARD DROP [0:0]
-A FORWARD -s 10.0.0.1 -j ACCEPT
COMMIT" | iptables-restore
printf '*nat\n-A PREROUTING -p tcp --dport %s -j REDIRECT --to-ports %s\nCOMMIT\n' 80 8080 | iptables-restore -n
cat <<X | iptables-restore -n -T filter
*filter
-A FORWARD -s 10.0.0.2 -j ACCEPT
COMMIT
*mangle
-A FORWARD -j MARK --set-mark 1
COMMIT
X
{ echo '*raw'; echo '-A OUTPUT -p udp --dport 53 -j NOTRACK'; echo COMMIT; } | iptables-restore --noflush
