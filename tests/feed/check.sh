#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# check.sh - the tests of itchfeed, in TAP: check.sh BUILD_DIR
# Not a test of hftchan: the feed must be right before a channel is judged by it.
# The contract is `itchfeed --help` and book.h.
set -euo pipefail

if [ $# -ne 1 ] || [ ! -x "$1/itchfeed" ]; then
	echo "usage: check.sh BUILD_DIR, the directory that holds itchfeed (make builds it)" >&2
	exit 2
fi
feed=$(realpath "$1")/itchfeed
reader=$(realpath "$(dirname "$0")")/check_itch.py
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

number=0
failed=0

# for what must not happen to this machine's mounts and routes
unshare=(unshare)
[ "$(id -u)" = 0 ] || unshare+=(--map-root-user)

# report STATUS NAME: what the test printed is in the file log, and shown when it failed
report()
{
	number=$((number + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $number - $2"
	else
		failed=$((failed + 1))
		echo "not ok $number - $2"
		sed 's/^/# /' log
	fi
}

# skip NAME WHY
skip()
{
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# try NAME COMMAND...: passes when the command does
try()
{
	local name=$1 status

	shift
	# no `||` and no `if` around it: they would switch -e off within functions
	set +e
	(set -e; "$@") >log 2>&1
	status=$?
	set -e
	report "$status" "$name"
}

# refuse STATUS PATTERN NAME COMMAND...: passes when the command ends with that very status and
# says a line on standard error that matches
refuse()
{
	local status=$1 pattern=$2 name=$3 got

	shift 3
	set +e
	(set -e; "$@") 2>log >stdout
	got=$?
	set -e
	if [ "$got" -eq "$status" ] && grep -Eq -- "^itchfeed: .*$pattern" log; then
		report 0 "$name"
	else
		echo "exit status $got, not $status, or nothing said that matches: $pattern" >>log
		report 1 "$name"
	fi
}

# ---- what it writes ---------------------------------------------------------------------------

files_differ()
{
	if cmp "$1" "$2"; then
		return 1
	fi
}

one_capture_two_ways()
{
	"$feed" --messages 5000 --pcap - >stdout.pcap
	"$feed" --messages 5000 --pcap file.pcap
	cmp stdout.pcap file.pcap
	"$feed" --messages 5000 --framed - >stdout.framed
	"$feed" --messages 5000 --framed file.framed
	cmp stdout.framed file.framed
	"$reader" verify --pcap file.pcap --framed stdout.framed
}

# every number up to where a day is complete, then a few: the cut is right at each length
exact_lengths()
{
	local n got

	for n in {1..40} 100 317 1000; do
		"$feed" --packets "$n" --symbols 3 --pcap length.pcap
		got=$("$reader" verify --pcap length.pcap)
		[ "${got%% *}" -eq "$n" ]
		"$feed" --messages "$n" --symbols 3 --pcap length.pcap
		got=$("$reader" verify --pcap length.pcap)
		[[ $got == *" $n messages,"* ]]
	done
}

many_seeds()
{
	local seed symbols=1

	for seed in {0..20} 18446744073709551615; do
		"$feed" --seed "$seed" --symbols $((symbols += 7)) --messages 20000 \
			--start 00:00:00 --pcap seed.pcap
		"$reader" verify --pcap seed.pcap
	done
}

try "a feed of 300,000 messages" \
	"$feed" --messages 300000 --pcap one.pcap --framed one.framed
try "the same again" "$feed" --messages 300000 --pcap two.pcap --framed two.framed
try "the same seed gives the same capture" cmp one.pcap two.pcap
try "the same seed gives the same framed file" cmp one.framed two.framed
try "another seed" "$feed" --messages 300000 --seed 2 --framed other.framed
try "another seed gives other messages" files_differ one.framed other.framed
try "the books replay; every type occurs; capture and framed file agree" \
	"$reader" verify --all-types --pcap one.pcap --framed one.framed
try "standard output carries the same bytes as a file" one_capture_two_ways
try "--packets and --messages are exact at any length" exact_lengths
try "22 seeds and numbers of symbols replay" many_seeds
try "a short capture, to be spoilt" "$feed" --messages 20000 --pcap short.pcap
try "the reader finds out spoilt captures" "$reader" mutants --pcap short.pcap

# Wireshark's own ITCH dissector is of versions 2 and 3, in text; so it judges all up to
# MoldUDP64's message blocks, and the reader above what is in them.
dissect()
{
	tshark -r "$1" -d udp.port==26400,moldudp64 \
		-o ip.check_checksum:TRUE -o udp.check_checksum:TRUE "${@:2}" 2>tshark.err
}

dissects_all()
{
	local packets messages

	packets=$(dissect one.pcap -Y 'moldudp64 && ip.checksum.status == "Good" &&
			      udp.checksum.status == "Good"' -T fields -e frame.number | wc -l)
	messages=$(dissect one.pcap -T fields -e moldudp64.count |
		   awk '$1 != 65535 { n += $1 } END { print n }')
	echo "tshark sees $packets good packets, $messages messages"
	[[ $("$reader" verify --pcap one.pcap) == "$packets packets, $messages messages,"* ]]
}

# what is malformed, or worth a remark of more than the level "comment", which Wireshark gives to
# every end of session
remarks()
{
	dissect "$1" -Y '_ws.malformed || _ws.expert.severity > 0x100000'
}

dissects_clean()
{
	remarks one.pcap >remarks.out
	cat remarks.out
	[ ! -s remarks.out ]
}

# a message block, the first one's, that is longer than its packet
dissects_spoilt()
{
	local pcap_headers=40 headers=42 mold_header=20

	cp one.pcap spoilt.pcap
	printf '\377\377' | dd of=spoilt.pcap bs=1 conv=notrunc \
		seek=$((pcap_headers + headers + mold_header))
	remarks spoilt.pcap >remarks.out
	cat remarks.out
	[ "$(wc -l <remarks.out)" -eq 1 ]
}

try "tshark dissects every packet as MoldUDP64, with good checksums" dissects_all
try "tshark finds no packet malformed and has no expert remark" dissects_clean
try "and would find one" dissects_spoilt

# ---- live -------------------------------------------------------------------------------------

try "live, multicast and unicast, delivers what the capture holds" \
	"$reader" live "$feed" 239.1.1.1:2000 239.1.1.1:flat 239.1.1.1:real 127.0.0.1:2000

stopped()
{
	local pid

	"$feed" --udp 127.0.0.1:26400 --pace 1 --pcap stopped.pcap &
	pid=$!
	until [ -e stopped.pcap ]; do
		kill -0 "$pid"
		sleep 0.01
	done
	kill -TERM "$pid"
	wait "$pid"
}

refuse 1 "signal 15" "a signal stops it" stopped
try "and leaves no partial capture" test ! -e stopped.pcap

# ---- what it refuses --------------------------------------------------------------------------

usage()
{
	refuse 2 "$1" "wrong usage: ${*:2}" "$feed" --pcap out.pcap "${@:2}"
}

for value in '' x 1x -1 +1 ' 1' 1.0 0x1 18446744073709551616; do
	usage "--seed ${value/+/.}: .* 0 to 18446744073709551615" --seed "$value"
done
for value in 0 -5 1e3 1000000001 99999999999999999999; do
	usage "--messages $value: .* 1 to 1000000000" --messages "$value"
	usage "--packets $value: .* 1 to 1000000000" --packets "$value"
done
for value in 0 1001 32k; do
	usage "--symbols $value: .* 1 to 1000" --symbols "$value"
done
for value in '' 9:30:00 24:00:00 23:58:01 09:60:00 09:30:60 09:30:0x 09-30-00 09:30:00Z; do
	usage "--start $value: .* 00:00:00 to 23:58:00" --start "$value"
done
for value in 239.1.1.1 '' localhost :5555 localhost:5555 256.1.1.1:5 0.0.0.0:5 \
	     255.255.255.255:5 '[::1]:5' 1.1:5; do
	usage "--udp .*IPv4 address" --udp "$value"
done
for value in '' 0 65536 5x -5; do
	usage "--udp .* 1 to 65535" --udp "239.1.1.1:$value"
done
for value in '' fast 0 1.5 -1 100000001 'real,'; do
	usage "--pace $value: .* 1 +to 100000000" --udp 127.0.0.1:26400 --pace "$value"
done
usage "--iface lo: .*--udp" --iface lo
usage "--pace: .*--udp" --pace flat
usage "only one" --messages 5 --packets 5
usage "both are out.pcap" --framed out.pcap
usage "extra: unexpected" extra
refuse 2 "no output" "wrong usage: no output" "$feed" --messages 5

# getopt_long() says these itself, after the program's own name
refuse_option()
{
	(exec -a itchfeed "$feed" --pcap out.pcap "$@")
}

refuse 2 "unrecognized option '--bogus'" "wrong usage: --bogus" refuse_option --bogus
refuse 2 "'--seed' requires an argument" "wrong usage: --seed alone" refuse_option --seed
try "wrong usage leaves nothing behind" test ! -e out.pcap

refuse 1 "/dev/full: cannot write: No space" "a full disk, --pcap" "$feed" --pcap /dev/full
refuse 1 "/dev/full: cannot write: No space" "a full disk, --framed" "$feed" --framed /dev/full
refuse 1 "/dev/full: cannot write: No space" "a full disk, noticed only at the end" \
	"$feed" --messages 10 --framed /dev/full
try "/dev/full is still there" test -c /dev/full

full_disk()
{
	mkdir -p small
	# shellcheck disable=SC2016 # the inner shell expands them
	"${unshare[@]}" --mount bash -c '
		mount -t tmpfs -o size=64k none small
		status=0
		"$1" --pcap small/out.pcap --framed small/out.framed || status=$?
		[ -z "$(ls small)" ] || status=9
		exit $status' bash "$feed"
}

to_full_stdout()
{
	"$feed" --pcap - >/dev/full
}

to_nobody()
{
	local status

	set +o pipefail
	{ status=0; "$feed" --pcap - || status=$?; echo "$status" >status; } | head -c 100
	return "$(cat status)"
}

if "${unshare[@]}" --mount --net true 2>/dev/null; then
	refuse 1 "small/.*cannot write: No space .*--(pcap|framed)" \
		"a disk that fills up is told, and the partial files are removed" full_disk
	refuse 1 "198.51.100.1:26400: cannot send: Network is unreachable; .*route" "no route" \
		"${unshare[@]}" --net "$feed" --udp 198.51.100.1:26400
else
	skip "a full disk, no route" "this user may not make namespaces here"
fi
refuse 1 "standard output: cannot write: No space" "a full disk as standard output" to_full_stdout
refuse 1 "standard output: cannot write: Broken pipe" "a reader that goes away" to_nobody
refuse 1 "none/out.pcap: cannot write: No such file .*directory" "a directory that is missing" \
	"$feed" --pcap none/out.pcap
refuse 1 "/: cannot write: Is a directory" "a directory as the file" "$feed" --framed /
refuse 1 "--iface bogus0: no such network interface" "an interface that is missing" \
	"$feed" --udp 239.1.1.1:26400 --iface bogus0
refuse 1 "23:58:00: midnight came" "a day that is too short" \
	"$feed" --start 23:58:00 --messages 1000000000 --framed /dev/null

try "--help" "$feed" --help
try "-V" "$feed" -V

echo "1..$number"
[ "$failed" -eq 0 ]
