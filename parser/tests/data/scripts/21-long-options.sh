#!/bin/sh
iptables --table nat --append PREROUTING --protocol tcp --destination-port 80 --jump DNAT --to-destination 10.0.0.5:8080
iptables --new-chain checks
iptables --insert INPUT 1 --source 10.0.0.0/8 --jump checks
iptables --policy FORWARD DROP
iptables --append INPUT --in-interface eth0 --match conntrack --ctstate NEW --jump DROP
iptables --delete INPUT 2
iptables --rename-chain checks tests
iptables -p udp -A OUTPUT --dport 53 -j ACCEPT -t filter
