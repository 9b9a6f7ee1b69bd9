# shellcheck shell=bash
# Sourced by the scripts beside it: where things lie, and the two steps that they share.
#
# D2L_INIT_VOLUME  the folder that outlives a stop (each script sets its platform's)
# D2L_INIT_BUILD   cu112 or cpu; by default what the machine has

set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
room=${D2L_INIT_VOLUME:?}/.d2l_init
environment=$room/env
log=$room/log
marker=$room/complete

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*" | tee -a "$log"; }

build() {
    if [ -n "${D2L_INIT_BUILD:-}" ]; then
        echo "$D2L_INIT_BUILD"
    elif nvidia-smi -L >/dev/null 2>&1; then
        echo cu112
    else
        echo cpu
    fi
}

lock() { echo "$project/requirements/$(build).txt"; }

# The environment is whole when the marker holds the lock that it was made from.
is_complete() {
    [ -x "$environment/bin/python" ] && [ "$(cat "$marker" 2>/dev/null)" = "$(git hash-object "$(lock)")" ]
}

# Where the Jupyter of the platform looks for a user's kernels: gone after a stop, so done each time.
register() {
    "$environment/bin/python" -m d2l_init kernel install --user >>"$log" 2>&1 &&
        say "kernel d2l-init is registered"
}

# Long work: out of the way of the platform's five minutes.
build_in_background() {
    say "building the environment in the background; this takes some minutes, see $log"
    nohup setsid bash "$project/sagemaker/build.sh" </dev/null >/dev/null 2>>"$log" &
}
