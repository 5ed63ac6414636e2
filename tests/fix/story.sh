# The transcript of README's `apply`, as it is printed: a host of the corpus ($2) on interfaces of a
# namespace of its own, with programs that answer as Docker and systemd would. NATTRACE is the
# program, $1 a folder to write to.
set -eu
cd "$1"
case=$2
mount -t tmpfs none /run
ip link set lo up
ip link add eth0 type veth peer name wire
ip link set wire up
for last in 202 203 205 206; do ip address add 173.208.194.$last/29 brd + dev eth0; done
ip link set eth0 up
ip route add default via 173.208.194.201
ip link add docker0 type bridge
ip address add 172.17.0.1/16 dev docker0
ip link set docker0 up
ip link add br-17f69efef4eb type bridge
ip address add 172.18.0.1/16 dev br-17f69efef4eb
ip link set br-17f69efef4eb up
sysctl -qw net.ipv4.ip_forward=1
iptables-restore <"$case/iptables-save"
mkdir bin
cat >bin/docker <<END
#!/bin/sh
case "\$*" in
"network inspect"*) cat "$case/docker-network-inspect.json" ;;
inspect*) cat "$case/docker-inspect.json" ;;
*) echo some ;;
esac
END
cat >bin/systemctl <<END
#!/bin/sh
iptables -t nat -D POSTROUTING -s 172.18.0.0/16 ! -o br-17f69efef4eb -j MASQUERADE
iptables -t nat -I POSTROUTING -s 172.18.0.0/16 ! -o br-17f69efef4eb -j MASQUERADE
END
chmod +x bin/*
ln -s "$NATTRACE" bin/nattrace
PATH=$PWD/bin:$PATH
export PATH NATTRACE_STATE_DIR=$PWD/state
# From a session of the operator, and from another one.
first="203.0.113.7 50000 173.208.194.202 22"
second="203.0.113.7 50001 173.208.194.202 22"
cat >nattrace.toml <<END
version = 1
[[egress]]
name   = "pub wears .205"
from   = "net:pub"
to     = "internet"
source = "173.208.194.205"
END

SSH_CONNECTION=$first
export SSH_CONNECTION
told() {
	echo "# $*"
	"$@" 2>&1 || [ $? = 1 ]
}
told nattrace check --format concise
echo
told nattrace fix --place nft --format plan -o plan.json
nattrace apply plan.json >applied 2>&1 &
applying=$!
tries=0
until nattrace status --json | grep -q waiting; do
	tries=$((tries + 1))
	if [ $tries -gt 300 ] || ! kill -0 $applying; then
		cat applied
		exit 1
	fi
	sleep 0.1
done
id=$(sed -n 's/.*"id": "\(.*\)",/\1/p' plan.json | head -n 1)
SSH_CONNECTION=$second nattrace confirm "$id" >confirmed 2>&1
wait $applying
echo "# nattrace apply plan.json"
cat applied
echo
echo "# nattrace confirm $id          # meanwhile, in a second SSH session"
cat confirmed
echo
told systemctl restart docker
told nattrace check
