#!/bin/sh
set -e
iptables -N DOCKER-USER || true
iptables -C FORWARD -j DOCKER-USER || iptables -I FORWARD -j DOCKER-USER
iptables -F DOCKER-USER
iptables -A DOCKER-USER -i eth0 -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
iptables -A DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport 443 --ctdir ORIGINAL -j RETURN
iptables -A DOCKER-USER -i eth0 ! -s 192.0.2.0/24 -j DROP
iptables -A DOCKER-USER -j RETURN
