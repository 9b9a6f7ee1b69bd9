#!/usr/bin/env bash
# Builds the environment on the volume that persists, and registers its kernel. Run twice, it does
# the second part only; two at a time, the second one waits.
set -euo pipefail
# shellcheck source=sagemaker/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

set -E # the trap holds inside functions, too
trap 'say "the environment could not be built (is there a network? is the volume full?): see $log"' ERR

# A Python 3.11 in $environment, by conda where the platform has it; install=(...) then fills it.
make_python() {
    if command -v conda >/dev/null; then
        conda create --yes --quiet --prefix "$environment" python=3.11 "pip>=26" libgomp
        install=("$environment/bin/python" -m pip install --quiet --no-cache-dir)
    else
        python3 -m venv "$room/uv"
        "$room/uv/bin/python" -m pip install --quiet --require-hashes -r "$project/requirements/uv.txt"
        export UV_PYTHON_INSTALL_DIR=$room/python UV_LINK_MODE=copy
        "$room/uv/bin/uv" venv --quiet --python 3.11 "$environment"
        install=("$room/uv/bin/uv" pip install --quiet --python "$environment/bin/python")
    fi
}

mkdir -p "$room"
exec 9>"$room/lock"
flock 9
if is_complete; then
    say "the environment is there"
else
    say "building from $(basename "$(lock)")"
    rm -rf "$marker" "$environment"
    make_python
    "${install[@]}" --require-hashes -r "$(lock)"
    "${install[@]}" --no-deps --no-build-isolation -e "$project"
    git hash-object "$(lock)" >"$marker"
    say "the environment is complete"
fi
register
