# Settings that `nattrace fix` names, made as it prints them, and real packets before and after.
# Runs in a network and mount namespace of its own, with NATTRACE and a folder to write to.
set -eu
cd "$1"
mount -t tmpfs none /run
mkdir /run/netns
ip link set lo up
# The name of an interface may have a dot, which sysctl wants to be a slash.
for side in left right; do
	ip netns add $side
	ip -n $side link set lo up
done
ip link add l0 type veth peer name out netns left
ip link add r0.5 type veth peer name out netns right
ip link add side type veth peer name other
for link in l0 r0.5 side; do ip link set $link up; done
for side in left right; do ip -n $side link set out up; done
ip address add 10.1.0.1/24 dev l0
ip address add 10.2.0.1/24 dev r0.5
ip -n left address add 10.1.0.2/24 dev out
ip -n right address add 10.2.0.2/24 dev out
ip address add fd01::1/64 dev l0 nodad
ip address add fd02::1/64 dev r0.5 nodad
ip -n left address add fd01::2/64 dev out nodad
ip -n right address add fd02::2/64 dev out nodad
for side in left right; do
	[ $side = left ] && net=1 || net=2
	ip -n $side route add default via 10.$net.0.1
	ip -n $side route add default via fd0$net::1
done
# What 10.9.0.2 sends comes in by r0.5, and so leave the answers, by a mark; the main table says that
# it is elsewhere.
ip -n right address add 10.9.0.2/32 dev lo
ip route add 10.9.0.0/24 dev side
ip route add 10.9.0.0/24 via 10.2.0.2 dev r0.5 table 100
ip rule add fwmark 9 lookup 100
iptables -t mangle -A PREROUTING -i l0 -d 10.9.0.0/24 -j MARK --set-mark 9
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
for name in all default l0 r0/5 side; do sysctl -qw net.ipv4.conf.$name.rp_filter=0; done

zones='version = 1
[zones.left]
via = ["l0"]
nets = ["10.1.0.0/24", "fd01::/64"]
routes = ["10.2.0.0/24", "10.9.0.0/24", "fd02::/64"]
[zones.right]
via = ["r0.5"]
nets = ["10.2.0.0/24", "fd02::/64"]
routes = ["10.1.0.0/24", "fd01::/64"]
[zones.odd]
via = ["r0.5"]
nets = ["10.9.0.2"]
'

# carry_out NAME COMMANDS PROBE TOLD...: the commands that were found are these, and with them what the
# probe asks works and the policy holds. TOLD are files that are shown where other commands were found.
carry_out() {
	name=$1 expected=$2 probe=$3
	shift 3
	if [ "$(cat commands)" != "$expected" ]; then
		echo "$name: expected $expected, found"
		cat "$@"
		exit 1
	fi
	sh -e commands >/dev/null
	if ! sh -c "$probe" >probed 2>&1; then
		echo "$name: does not work with $(cat commands)"
		cat probed
		exit 1
	fi
	"$NATTRACE" check policy.toml >checked 2>&1 || {
		echo "$name: the policy does not hold"
		cat checked
		exit 1
	}
	echo "$name: $(cat commands)"
}

# try NAME POLICY COMMANDS PROBE: what the probe asks does not work, `fix` prints the commands, and
# then it does.
try() {
	printf '%s%s\n' "$zones" "$2" >policy.toml
	if sh -c "$4" >/dev/null 2>&1; then
		echo "$1: holds before"
		exit 1
	fi
	"$NATTRACE" fix policy.toml --format commands >commands 2>log || {
		echo "$1: no fix"
		"$NATTRACE" fix policy.toml
		exit 1
	}
	carry_out "$1" "$3" "$4" commands
}

# led NAME POLICY COMMANDS PROBE: no rule helps, `fix` tells what is in the way with commands, and
# with these what the probe asks works.
led() {
	printf '%s%s\n' "$zones" "$2" >policy.toml
	if sh -c "$4" >/dev/null 2>&1; then
		echo "$1: works before"
		exit 1
	fi
	"$NATTRACE" fix policy.toml --format json >told 2>log && {
		echo "$1: a rule helps"
		cat told
		exit 1
	}
	grep -o '`ip[^`]*`' told | tr -d '`' >commands
	carry_out "$1" "$3" "$4" told log
}

ping="ip netns exec left busybox ping -c 1 -W 1"

sysctl -qw net.ipv4.ip_forward=0
try 'forwarding is off' '[[allow]]
from = "10.1.0.2"
to = "10.2.0.2"
proto = "icmp"' 'sysctl -w net.ipv4.ip_forward=1' "$ping 10.2.0.2"

sysctl -qw net.ipv4.conf.l0.forwarding=0
try 'forwarding is off for one interface' '[[allow]]
from = "10.1.0.2"
to = "10.2.0.2"
proto = "icmp"' 'sysctl -w net.ipv4.conf.l0.forwarding=1' "$ping 10.2.0.2"

sysctl -qw net.ipv6.conf.all.forwarding=0
try 'forwarding of IPv6 is off' '[[allow]]
from = "fd01::2"
to = "fd02::2"
proto = "icmp"' 'sysctl -w net.ipv6.conf.all.forwarding=1' "$ping fd02::2"

# Strict on one interface, whose name has a dot.
sysctl -qw net.ipv4.conf.r0/5.rp_filter=1
try 'answers are expected elsewhere' '[[allow]]
from = "odd"
to = "10.1.0.2"
proto = "icmp"' 'sysctl -w net.ipv4.conf.r0/5.rp_filter=2' \
	"ip netns exec right busybox ping -c 1 -W 1 -I 10.9.0.2 10.1.0.2"

# A port of the host led to the loopback.
busybox nc -ll -p 8081 -e busybox echo hello &
listener=$!
trap 'kill $listener' EXIT
iptables -t nat -A PREROUTING -i l0 -p tcp --dport 8080 -j DNAT --to-destination 127.0.0.1:8081
sleep 0.2
try 'the loopback is not routed' '[[allow]]
from = "10.1.0.2"
to = "10.1.0.1:8080/tcp"' 'sysctl -w net.ipv4.conf.l0.route_localnet=1' \
	"ip netns exec left busybox nc -w 2 10.1.0.1 8080 </dev/null | grep -q hello"

# What one port of a bridge sends to another meets rules only where the kernel is told so.
ip link add br0 type bridge
ip address add 10.3.0.1/24 dev br0
ip link set br0 up
for side in left right; do
	[ $side = left ] && own=2 || own=3
	ip link add br-$side type veth peer name port netns $side
	ip link set br-$side master br0 up
	ip -n $side link set port up
	ip -n $side address add 10.3.0.$own/24 dev port
done
sysctl -qw net.bridge.bridge-nf-call-iptables=0
try 'bridged packets meet no rule' '[[deny]]
from = "10.3.0.2"
lands = "10.3.0.3"' 'sysctl -w net.bridge.bridge-nf-call-iptables=1
iptables -w -t filter -A FORWARD -s 10.3.0.2/32 -d 10.3.0.3/32 -i br0 -o br0 -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP' \
	"$ping 10.3.0.1 && ! $ping 10.3.0.3"

# A table of its own for what a network sends, which does not know who is near.
sysctl -qw net.bridge.bridge-nf-call-iptables=0
ip rule add from 10.3.0.0/24 lookup 200 priority 2000
ip route add default via 10.2.0.2 dev r0.5 table 200
ip -n right route add 10.1.0.2/32 via 10.3.0.1
zones='version = 1
[zones.left]
via = ["l0"]
nets = ["10.1.0.0/24"]
routes = ["10.3.0.0/24"]
'
led 'a table lacks a route' '[[allow]]
from = "10.3.0.3"
to = "10.1.0.2"
proto = "icmp"' 'ip route add 10.1.0.0/24 dev l0 table 200' \
	"ip netns exec right busybox ping -c 1 -W 1 10.1.0.2"

# Two uplinks: what asks for the address of the one is answered by the other, where the default
# route leads. Each provider takes its own addresses only.
zones='version = 1
'
ip address add 203.0.113.10/24 dev l0
ip address add 198.51.100.10/24 dev r0.5
ip -n left address add 203.0.113.1/24 dev out
ip -n right address add 198.51.100.1/24 dev out
ip -n left address add 192.0.2.7/32 dev lo
ip -n left route add 203.0.113.10/32 dev out src 192.0.2.7
ip route add default via 198.51.100.1
ip route add default via 203.0.113.1 metric 200
ip netns exec right iptables -A INPUT -s 203.0.113.0/24 -j DROP
ip netns exec right sysctl -qw net.ipv4.ip_forward=1
ip netns exec right iptables -A FORWARD -s 203.0.113.0/24 -j DROP
led 'a process answers by the other uplink' '[[allow]]
from = "internet"
to = "203.0.113.10:8081/tcp"
family = "ipv4"' 'ip route add default via 203.0.113.1 dev l0 table 101
ip rule add priority 1999 from 203.0.113.10/32 lookup 101' \
	"ip netns exec left busybox nc -w 2 203.0.113.10 8081 </dev/null | grep -q hello"

ip netns exec right busybox nc -ll -p 8082 -e busybox echo far &
far=$!
trap 'kill $listener $far' EXIT
iptables -t nat -A PREROUTING -d 203.0.113.10 -p tcp --dport 8082 -j DNAT --to-destination 10.3.0.3
ip -n right route add 192.0.2.7/32 via 10.3.0.1
led 'a container answers by the other uplink' '[[allow]]
from = "internet"
to = "203.0.113.10:8082/tcp"
lands = "10.3.0.3:8082"' 'ip rule add priority 1998 fwmark 0x100 lookup 101
iptables -w -t mangle -A PREROUTING -d 203.0.113.10/32 -m conntrack --ctstate NEW -j CONNMARK --set-xmark 0x100/0xffffffff
iptables -w -t mangle -A PREROUTING -m conntrack --ctdir REPLY -m connmark --mark 0x100 -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff' \
	"ip netns exec left busybox nc -w 2 203.0.113.10 8082 </dev/null | grep -q far"
