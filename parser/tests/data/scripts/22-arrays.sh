#!/bin/bash
declare -r NET=10.0.0.0/8
export GW=eth9
rules=()
rules+=("-p tcp --dport 1")
rules+=("-p tcp --dport 2")
for rule in "${rules[@]}"; do
    iptables -A INPUT -s $NET $rule -j ACCEPT
done
args=(-A FORWARD -o "$GW" -m comment --comment "two words")
iptables "${args[@]}" -j DROP
name=eth1.100
iptables -A OUTPUT -o ${name%.*} -j ACCEPT
iptables -A OUTPUT -o v${name##*.} -j ACCEPT
