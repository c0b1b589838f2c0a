#!/usr/bin/env bash
# Runs background programs that must not outlive the process that asked for them.
#
#   supervise.sh FOLDER
#
# FOLDER/NAME.argv holds a command line, each argument ended by NUL. Standard input carries one order per line:
#   start NAME          run it; output to NAME.log, process id to NAME.pid, and when it ends its status to NAME.exit
#   signal NAME SIGNAL  send it a signal
#   detach              go on when standard input ends
# Everything is killed and FOLDER removed when standard input ends (the asking process closed it or died, however it
# died), when FOLDER/stop appears, when FOLDER disappears, or at SIGTERM. What runs here is throw-away: SIGKILL is fine.
# FOLDER/alive is touched twice a second: who finds it old knows that nobody looks after the folder any more.
set -uo pipefail

folder=$1
cd "$folder" || exit 1
: >alive

declare -A keepers=() # name → process id of the subshell that waits for the program

# A file that appears complete: written beside, then renamed.
publish() { printf '%s\n' "$2" >"$1.new" && mv "$1.new" "$1"; }

# Runs argv until it ends or this subshell is told to kill it (SIGTERM).
keep() {
  local name=$1 asked=0 child='' status
  trap 'asked=1; [[ -z $child ]] || kill -KILL "$child"' TERM
  "${argv[@]}" >>"$name.log" 2>&1 &
  child=$!
  ((asked)) && kill -KILL "$child"
  publish "$name.pid" "$child"
  wait "$child"
  status=$?
  # A signal to this subshell interrupts `wait`.
  while kill -0 "$child"; do
    wait "$child"
    status=$?
  done
  publish "$name.exit" "$status"
}

start() {
  local name=$1 argv
  mapfile -d '' -t argv <"$name.argv"
  rm -f "$name.pid" "$name.exit"
  keep "$name" </dev/null &
  keepers[$name]=$!
}

signal() {
  local name=$1 signal=$2
  [[ -e $name.pid && ! -e $name.exit ]] && kill -s "$signal" "$(<"$name.pid")"
}

finish() {
  trap '' TERM
  ((${#keepers[@]})) && kill -TERM "${keepers[@]}"
  wait
  cd / && rm -rf "$folder"
  exit 0
}
trap finish TERM

order() {
  case $1 in
    start) start "$2" ;;
    signal) signal "$2" "$3" ;;
    detach) mkfifo hold && exec <>hold && rm hold ;; # a standard input that never ends and never says anything
  esac
}

line=''
while true; do
  if read -r -t 0.5 part; then
    # shellcheck disable=SC2086 # an order is split into words
    order $line$part
    line=''
  elif (($? > 128)); then
    line+=$part # timed out, possibly within a line
  else
    finish
  fi
  [[ -e alive && ! -e stop ]] || finish
  : >alive
done
