#!/usr/bin/env bash
# The main job from a clean machine: log in once, let the access token expire, call ten times at once, one refresh.
#
# It uses a free port, a throw-away database and a configuration directory of its own. Whatever way it ends, it logs
# out (which empties the keyring entry), stops the server that it started, and deletes what it wrote.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

main() {
  say 'Build both binaries. The first time this takes some minutes.'
  build_binaries
  bin=$(target_directory)/debug
  [[ -x $bin/authcli && -x $bin/authcli-server ]] || fail "no binaries in $bin"

  say 'Start a server: a free port, a throw-away database, access tokens that live two seconds.'
  start_server

  say 'Log in. The password comes by stdin, so it is never in the list of processes.'
  log_in

  say 'Call a protected resource. authcli sends the token along.'
  show authcli get /protected
  printf '\n'

  say 'Let the access token expire.'
  # The token's end is rounded up to a whole second.
  count_down 3

  say 'Ten calls at once on the expired token: all are answered, and one refresh is sent.'
  burst

  say 'Who is logged in, and until when.'
  show authcli status

  say 'Log out. The server revokes the session, and the tokens are forgotten.'
  show authcli logout
  local code=0
  authcli status >/dev/null 2>&1 || code=$?
  [[ $code -eq 7 ]] || fail "after the logout \`status\` ended with $code, expected 7 (not logged in)"

  printf '\n%sDone:%s one login, eleven calls, an expired token, one refresh.\n' "$green$bold" "$plain"
}

start_server() {
  echo_command authcli-server serve --demo --listen 127.0.0.1:0
  # Made here, because the shell that starts the server may come to it after the first look below.
  : >"$work/server.out"
  "$bin/authcli-server" serve --demo --listen 127.0.0.1:0 </dev/null >"$work/server.out" 2>"$work/server.err" &
  server=$!
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    url=$(sed -n 's/^listening on //p' "$work/server.out")
    if [[ -n $url ]] || ! kill -0 "$server" 2>/dev/null; then
      break
    fi
    sleep 0.1
  done
  if [[ -z $url ]]; then
    cat "$work/server.err" >&2
    fail 'the server did not start'
  fi
  printf 'listening on %s\n' "$url"
}

# Uses the keyring where there is one, else the file store. Exit code 8 says that there is none.
log_in() {
  local store=keyring code=0
  started_login=yes
  log_in_to keyring || code=$?
  if [[ $code -eq 8 ]]; then
    store=file code=0
    log_in_to file || code=$?
  fi
  echo_command authcli login -u admin --password-stdin --server "$url" --store "$store"
  cat "$work/login.err"
  [[ $code -eq 0 ]] || fail "the login ended with $code"
  if [[ $store == keyring ]]; then
    note 'The tokens are in the keyring of this machine, until the logout below.'
  else
    note 'There is no usable keyring here, so the tokens are in a file that only you can read.'
  fi
}

# The demo's password, not a secret.
log_in_to() {
  printf '123456\n' | authcli login -u admin --password-stdin --server "$url" --store "$1" 2>"$work/login.err"
}

# The one burst on the expired token is the one shown, and the one whose figures are checked.
burst() {
  echo_command authcli burst -n 10
  local summary
  summary=$(authcli burst -n 10) || fail "the burst ended with $?: $summary"
  printf '%s\n' "$summary"
  grep -qE '^succeeded +10$' <<<"$summary" || fail 'not every call succeeded'
  grep -qE '^refreshes +1 sent' <<<"$summary" || fail 'it was not one refresh'
}

count_down() {
  local left
  if [[ ! -t 1 ]]; then
    printf 'waiting %d seconds\n' "$1"
    sleep "$1"
    return
  fi
  for ((left = $1; left > 0; left--)); do
    printf '\rwaiting %d s' "$left"
    sleep 1
  done
  printf '\rexpired     \n'
}

authcli() {
  "$bin/authcli" "$@"
}

say() {
  printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

note() {
  printf '%s%s%s\n' "$green" "$*" "$plain"
}

echo_command() {
  printf '%s$ %s%s\n' "$dim" "$*" "$plain"
}

show() {
  echo_command "$@"
  "$@" || fail "\`$*\` ended with $?"
}

clean_up() {
  trap '' INT TERM HUP PIPE
  # Without a session this does nothing.
  [[ -z $started_login ]] || authcli logout >/dev/null 2>&1 || true
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    local tries
    for ((tries = 0; tries < 100; tries++)); do
      kill -0 "$server" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}

[[ $# -eq 0 ]] || fail "usage: scripts/demo.sh"
bin='' url='' server='' started_login=''
work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# The user's own settings stay out of it.
for name in "${!AUTHCLI_@}"; do
  unset "$name"
done
export AUTHCLI_CONFIG_DIR="$work/config" NO_PROXY=127.0.0.1
main
