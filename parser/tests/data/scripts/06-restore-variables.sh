#!/bin/sh
NET=10.9.0.0/16
OUT=eth7
iptables -N keep
iptables -A keep -j RETURN
iptables -A FORWARD -j keep
iptables-restore --noflush <<-END
	*filter
	:user - [0:0]
	-A user -s $NET -j ACCEPT
	-I FORWARD -o ${OUT} -j user
	-D FORWARD -j keep
	-F keep
	-X keep
	COMMIT
	END
iptables-restore -n <<'RAW'
*filter
-A FORWARD -m comment --comment "costs $5" -j DROP
COMMIT
RAW
