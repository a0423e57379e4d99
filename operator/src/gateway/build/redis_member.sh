#!/bin/sh
# One member of the managed Redis: a pod with a Redis and a Sentinel, or with a Redis that is alone. Containers begin with it,
# and probes and the hook of the end call it.
#
#   member.sh alone            starts a Redis that is alone
#   member.sh alone-ready      whether it serves; takes over a password that was replaced
#   member.sh redis            starts Redis: as a replica, unless it is the primary and no replica has outlived it
#   member.sh sentinel         starts the Sentinel with what it knew
#   member.sh redis-ready      whether Redis serves and is in step; takes over a password that was replaced
#   member.sh sentinel-ready   whether the Sentinel could have another made the primary; takes over the same
#   member.sh stop             makes another the primary before this one ends
#
# Needs redis-server and redis-cli (7.0 or later), sleep and timeout. Passwords are on no command line and in no environment.
set -u
umask 077
here=${0%/*}
# members, run and auth; quorum, down_after, failover_timeout, timing, id and data where there is more than one
. "$here/members"
part=$1
ordinal=${POD_NAME##*-}
newline='
'
carriage=$(printf '\r')

say() {
  printf 'member %s: %s\n' "$ordinal" "$1" >&2
}

# member N: the address of one, HOST:PORT-OF-REDIS:PORT-OF-SENTINEL.
member() {
  for each in $members; do
    case ${each%%=*} in "$1") printf %s "${each#*=}" ;; esac
  done
}

# The address of its Redis, HOST:PORT.
redis_of() {
  printf %s "${1%:*}"
}

# The password as a word of Redis' own configuration, quoted where it must be.
word() {
  IFS= read -r line <"$auth/auth.conf" || :
  printf %s "${line#requirepass }"
}

# remember SERVER WORD, known SERVER: what the server of this container was last told.
remember() {
  printf '%s\n' "$2" >"$run/$1.word"
}
known() {
  IFS= read -r line 2>/dev/null <"$run/$1.word" || line=$(word)
  printf %s "$line"
}

# ask HOST:PORT COMMANDS WORD: the answers, a line each.
ask() {
  printf 'AUTH %s\n%s\n' "$3" "$2" | timeout 3 redis-cli -h "${1%:*}" -p "${1##*:}" 2>/dev/null | {
    IFS= read -r line && [ "$line" = OK ] || exit 1
    while IFS= read -r line; do
      printf '%s\n' "${line%"$carriage"}"
    done
  }
}

redis() {
  ask "$(redis_of "$1")" "$2" "$(known redis)"
}

sentinel() {
  ask "${1%%:*}:${1##*:}" "$2" "$(known sentinel)"
}

# What the Sentinel of a member believes: EPOCH HOST:PORT. Nothing while it makes another the primary: it has the new epoch then
# and still the old address, and who remembered that would never learn better.
belief() {
  sentinel "$1" 'SENTINEL MASTER main' | {
    host='' port='' epoch='' changing=''
    while IFS= read -r key && IFS= read -r value; do
      case $key:$value in
        ip:*) host=$value ;;
        port:*) port=$value ;;
        config-epoch:*) epoch=$value ;;
        flags:*failover_in_progress*) changing=yes ;;
      esac
    done
    [ -n "$epoch" ] && [ -z "$changing" ] && printf '%s %s' "$epoch" "$host:$port"
  }
}

# Sets how many Sentinels were heard, and the primary by the youngest of what they believe; of two of one epoch the one that is
# another's, since it was this one's before.
listen() {
  heard=0 primary='' youngest=-1
  for each in $members; do
    seen=$(belief "${each#*=}") || continue
    heard=$((heard + 1))
    if [ "${seen%% *}" -gt "$youngest" ] || { [ "${seen%% *}" -eq "$youngest" ] && [ "$primary" = "$mine" ]; }; then
      youngest=${seen%% *} primary=${seen#* }
    fi
  done
}

# Whether a Redis that runs has more than the files of this one may have: it has been in step since it began.
outlived() {
  for each in $members; do
    [ "${each%%=*}" = "$ordinal" ] && continue
    redis "${each#*=}" 'INFO replication' | {
      while IFS=: read -r key value; do
        case $key:$value in
          role:master) exit 0 ;;
          slave_repl_offset:*) [ "$value" -gt 1 ] && exit 0 ;;
        esac
      done
      exit 1
    } && return 0
  done
  return 1
}

# Waits until it is known what this Redis has to be. One that was the primary and comes back is so only where nobody took its
# place: what it wrote in the last second before its machine ended is not in its file, and replicas have it.
decide() {
  waited=0
  while :; do
    listen
    if [ -n "$primary" ] && [ "$primary" != "$mine" ]; then
      say "a replica of $primary"
      return
    fi
    if [ "$heard" -ge "$quorum" ]; then
      if ! outlived; then
        say 'the primary'
        return
      fi
      if [ "$waited" -ge 120 ] && [ -d "$data/appendonlydir" ]; then
        say 'the primary, since no replica was made it in time'
        return
      fi
      [ "$waited" -gt 0 ] || say 'waits for a replica to be made the primary'
    elif [ "$waited" = 0 ]; then
      say "waits for $quorum Sentinels, hears $heard"
    fi
    waited=$((waited + 1))
    sleep 1
  done
}

# begins_with WORD: what Redis' file begins with. The password is written out, so that it is the very one that is remembered:
# the file that it is from may change at any time.
begins_with() {
  remember redis "$1"
  printf 'include %s\nrequirepass %s\nport %s\n' "$here/redis.conf" "$1" "${mine##*:}"
}

start_alone() {
  begins_with "$(word)" >"$run/redis.conf"
  exec redis-server "$run/redis.conf"
}

start_redis() {
  remember redis "$(word)"
  decide
  # It may have been replaced meanwhile.
  now=$(word)
  {
    begins_with "$now"
    printf 'masterauth %s\nreplica-announce-ip %s\n' "$now" "${mine%:*}"
    [ "$primary" = "$mine" ] || printf 'replicaof %s %s\n' "${primary%:*}" "${primary##*:}"
  } >"$run/redis.conf"
  exec redis-server "$run/redis.conf"
}

# Its file is written anew with what it knew, or else with what others know: which is the primary, since when, and who else
# there is. All replicas are in it from the beginning: one that knew none could win an election, and have nobody to choose.
start_sentinel() {
  remember sentinel "$(word)"
  primary='' knew=''
  while IFS= read -r line; do
    case $line in
      'sentinel monitor main '*)
        # shellcheck disable=SC2086
        set -- $line
        primary=$4:$5
        ;;
      'sentinel config-epoch '* | 'sentinel leader-epoch '* | 'sentinel current-epoch '* | 'sentinel known-sentinel '*)
        knew=$knew$line$newline
        ;;
    esac
  done 2>/dev/null <"$data/sentinel.conf" || :
  if [ -z "$primary" ]; then
    listen
    [ -z "$primary" ] || knew="sentinel config-epoch main $youngest$newline"
  fi
  : "${primary:=$(redis_of "$(member 0)")}"
  # It may have been replaced meanwhile.
  remember sentinel "$(word)"
  for each in $members; do
    each=$(redis_of "${each#*=}")
    [ "$each" = "$primary" ] || knew="${knew}sentinel known-replica main ${each%:*} ${each##*:}$newline"
  done
  {
    printf 'include %s\n' "$here/sentinel.conf" "$auth/auth.conf"
    printf 'port %s\nsentinel announce-ip %s\nsentinel announce-port %s\n' "${me##*:}" "${me%%:*}" "${me##*:}"
    printf 'sentinel myid %s%024d\n' "$id" "$ordinal"
    printf 'sentinel monitor main %s %s %s\n' "${primary%:*}" "${primary##*:}" "$quorum"
    printf 'sentinel auth-pass main %s\nsentinel sentinel-pass %s\n' "$(word)" "$(word)"
    printf 'sentinel %s\n' "down-after-milliseconds main $down_after" "failover-timeout main $failover_timeout"
    printf %s "$knew"
  } >"$data/sentinel.conf"
  exec redis-server "$data/sentinel.conf" --sentinel
}

# follow HOST:PORT COMMANDS WORD: tells the server of this container a password that was replaced. The one before stays valid until the
# container begins anew, since who has it gets the new one a little later.
follow() {
  told=$3
  [ "$told" = "$(known "$part")" ] && return
  answer=$(ask "$1" "$2" "$(known "$part")")
  case $answer in
    *ERR* | '') say "does not take over the password: $answer" ;;
    *)
      remember "$part" "$told"
      say 'has taken over the password'
      ;;
  esac
}

# further WORD: the password as a further one of the user that everyone is.
further() {
  case $1 in
    \"*) printf 'ACL SETUSER default ">%s' "${1#\"}" ;;
    *) printf 'ACL SETUSER default >%s' "$1" ;;
  esac
}

alone_ready() {
  part=redis
  now=$(word)
  follow "$(redis_of "$self")" "$(further "$now")" "$now"
  # One that still loads says so instead.
  [ "$(redis "$self" PING)" = PONG ]
}

redis_ready() {
  part=redis
  now=$(word)
  follow "$(redis_of "$self")" "$(further "$now")${newline}CONFIG SET masterauth $now" "$now"
  # shellcheck disable=SC2046
  set -- $(redis "$self" ROLE)
  [ "${1:-}" = master ] || [ "${1:-}:${4:-}" = slave:connected ]
}

sentinel_ready() {
  part=sentinel
  now=$(word)
  follow "${self%%:*}:${self##*:}" "$(further "$now")
SENTINEL SET main auth-pass $now
SENTINEL CONFIG SET sentinel-pass $now" "$now"
  # It has to be told anew whenever it began.
  [ "$(sentinel "$self" "SENTINEL DEBUG $timing")" = OK ] || return 1
  case $(sentinel "$self" 'SENTINEL CKQUORUM main') in OK*) ;; *) return 1 ;; esac
}

# Whether every replica that is there follows the primary, and with "level", has said that it has all that was written.
follow_it() {
  redis "$self" 'INFO replication' | {
    have='' wrote=''
    while IFS=: read -r key value; do
      case $key:$value in
        slave[0-9]*,state=online,*) value=${value##*,offset=} have="$have ${value%%,*}" ;;
        slave[0-9]*:ip=*) exit 1 ;;
        master_repl_offset:*) wrote=$value ;;
      esac
    done
    [ -n "$have" ] || exit 1
    [ "${1:-}" = level ] || exit 0
    for each in $have; do
      [ "$each" = "$wrote" ] || exit 1
    done
  }
}

# within TENTHS COMMAND...: whether it succeeds within that time, at least about.
within() {
  left=$1
  shift
  until "$@"; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || return 1
    sleep 0.1
  done
}

# Whether a Sentinel of another began to make another the primary.
begun() {
  for each in $members; do
    [ "${each%%=*}" = "$ordinal" ] && continue
    case $(sentinel "${each#*=}" 'SENTINEL FAILOVER main') in
      OK | INPROG*)
        asked=${each#*=}
        return 0
        ;;
    esac
  done
  return 1
}

succeeded() {
  seen=$(belief "$asked") && primary=${seen#* } && [ "$primary" != "$mine" ]
}

# Writes wait until all replicas have what was written; then one of them is made the primary. Nobody hears of those that wait:
# they end with this Redis, and are made anew where the primary is then. Where that fails the end of Redis still waits for its
# replicas, and Sentinels notice that it is gone.
hand_over() {
  # shellcheck disable=SC2046
  set -- $(redis "$self" ROLE)
  [ "${1:-}" = master ] || return 0
  if ! within 100 follow_it; then
    say 'ends as the primary: not all replicas follow it'
    return 0
  fi
  redis "$self" 'CLIENT PAUSE 60000 WRITE' >/dev/null
  # Replicas say once a second how far they are.
  if ! within 30 follow_it level || ! within 20 begun; then
    redis "$self" 'CLIENT UNPAUSE' >/dev/null
    say 'ends as the primary: its replicas lag, or no Sentinel could replace it'
    return 0
  fi
  if within 80 succeeded; then
    say "was replaced by $primary"
  else
    say 'ends as the primary: it was not replaced in time'
  fi
}

# Whether the append-only file is whole: until a replica that was sent everything has written it, it should not end.
written() {
  case $(redis "$self" 'INFO persistence') in
    *aof_rewrite_in_progress:0*aof_rewrite_scheduled:0*) ;;
    *) return 1 ;;
  esac
}

stop() {
  hand_over
  within 200 written || say 'ends before its file is written anew'
}

me=$(member "$ordinal")
mine=$(redis_of "$me")
# By its own name a pod that was made anew may be found while this one has not ended.
self=localhost:${me#*:}
case $part in
  alone) start_alone ;;
  alone-ready) alone_ready ;;
  redis) start_redis ;;
  sentinel) start_sentinel ;;
  redis-ready) redis_ready ;;
  sentinel-ready) sentinel_ready ;;
  stop) part=redis && stop ;;
  *) say "unknown: $part" && exit 2 ;;
esac
