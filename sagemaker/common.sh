# shellcheck shell=bash
# Sourced by the scripts beside it: where things lie, and the two steps that they share.
#
# D2L_INIT_VOLUME  the folder that outlives a stop (each script sets its platform's)
# D2L_INIT_BUILD   cu112 or cpu; by default what the machine can run

set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
room=${D2L_INIT_VOLUME:?}/.d2l_init
environment=$room/env
log=$room/log
marker=$room/complete

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*" | tee -a "$log"; }

# MXNet 1.9.1 has code for the compute capabilities 5.0 to 8.9, and for no other GPU. Where the
# driver does not tell (before 510), the CPU build is the one that runs for sure.
build() {
    local ask="nvidia-smi --query-gpu=compute_cap --format=csv,noheader"
    if [ -n "${D2L_INIT_BUILD:-}" ]; then
        echo "$D2L_INIT_BUILD"
    elif [[ $($ask 2>/dev/null) =~ ^([5-8]\.[0-9][[:space:]]*)+$ ]]; then
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
