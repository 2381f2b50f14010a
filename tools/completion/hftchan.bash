# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# bash completion of the command `hftchan`.
# It holds no list of commands or options: --list-commands and COMMAND --list-options give them.
# Contract: hftchan(1).

_hftchan()
{
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local tool=${COMP_WORDS[0]} command=${COMP_WORDS[1]-} words=''
	COMPREPLY=()

	if [ "$COMP_CWORD" = 1 ]; then
		words="$("$tool" --list-commands 2>/dev/null) --help --version"
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
		return
	fi
	# "--join=la" comes as three words
	if [ "$previous" = = ]; then
		previous=${COMP_WORDS[COMP_CWORD - 2]}
	elif [ "$word" = = ]; then
		word=''
	fi
	case $previous in
	--pcap | --framed | --verify | --save)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return ;;
	--owner)
		mapfile -t COMPREPLY < <(compgen -u -- "$word")
		return ;;
	--group)
		mapfile -t COMPREPLY < <(compgen -g -- "$word")
		return ;;
	--iface)
		words=$(cd /sys/class/net 2>/dev/null && echo *) ;;
	--join)
		words='last next oldest' ;;
	--wait)
		words='spin yield' ;;
	--pace)
		words='flat real' ;;
	--layout)
		words='packed' ;;
	--backend)
		words='shm dev' ;;
	--*)
		# any other option that takes a value: nothing to offer
		if "$tool" "$command" --list-options 2>/dev/null | grep -qxF -e "$previous="; then
			return
		fi ;;
	esac
	if [ -n "$words" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
	elif [[ $word == -* ]]; then
		words=$("$tool" "$command" --list-options 2>/dev/null)
		mapfile -t COMPREPLY < <(compgen -W "${words//=/}" -- "$word")
	elif [ "$command" = bench ]; then
		mapfile -t COMPREPLY < <(compgen -W ping -- "$word")
	elif [ "$command" != create ] && [ "$command" != list ]; then
		# without the backend, as readline takes "shm:" for a word of its own
		words=$("$tool" list 2>/dev/null |
			awk 'NR > 1 { sub(/^[a-z]+:/, "", $1); print $1 }')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
	fi
}
complete -F _hftchan hftchan
