#!/bin/sh
iptables-restore <<EOT
*filter
:INPUT DROP [3:180]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:logdrop - [0:0]
# a comment
-A INPUT -i lo -j ACCEPT
[5:300] -A INPUT -p tcp --dport 22 -j logdrop
-A logdrop -j LOG --log-prefix "it's dropped "
-A logdrop -j DROP
COMMIT
*nat
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
EOT
iptables -A INPUT -j REJECT
