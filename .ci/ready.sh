# Sourced by the Makefile in the project's folder: makes .venv from requirements/cpu.txt, with the
# CPython 3.11 that MXNet needs, or finds in an instant that it is there. Sets $python and $uv.

set -eu
python=.venv/bin/python
stamp=.venv/complete

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Some places have a home that cannot be written: caches and settings then live in .tools.
if ! { mkdir -p "${HOME:=$PWD/.tools/home}/.cache" && [ -w "$HOME/.cache" ] && [ -w "$HOME" ]; } 2>/dev/null; then
    HOME=$PWD/.tools/home
    mkdir -p "$HOME"
    export HOME
    unset XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME JUPYTER_CONFIG_DIR JUPYTER_DATA_DIR \
        JUPYTER_RUNTIME_DIR IPYTHONDIR MPLCONFIGDIR UV_CACHE_DIR
fi

find_uv() {
    uv=$(command -v uv || true)
    [ -n "$uv" ] && return
    uv=.tools/bin/uv
    "$uv" --version >/dev/null 2>&1 && return
    echo "Fetching uv into .tools ..." >&2
    { python3 -m venv .tools && .tools/bin/python -m pip install --quiet --disable-pip-version-check uv; } >&2 ||
        fail "" "uv could not be fetched. Install uv (docs.astral.sh/uv), or what python3 needs to make" \
            "an environment (on Debian and Ubuntu: apt-get install python3-venv), and run this again."
}

make_environment() {
    rm -f "$stamp"
    "$uv" venv --quiet --allow-existing --python 3.11 .venv ||
        fail "" "MXNet 1.9.1 needs CPython 3.11, and uv could neither find nor fetch one." \
            "Install Python 3.11 (python.org, pyenv, conda or your system's packages) and run this again."
    "$uv" pip sync --quiet --require-hashes --python "$python" requirements/cpu.txt ||
        fail "" "The libraries in requirements/cpu.txt could not be installed (see above)." \
            "MXNet 1.9.1 has wheels for Linux on x86-64 and for macOS on Intel, and for nothing else."
    "$uv" pip install --quiet --no-deps --no-build-isolation --offline --python "$python" -e .
    mkdir -p .venv/share/jupyter/lab/settings
    echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' \
        >.venv/share/jupyter/lab/settings/overrides.json
    echo "$want" >"$stamp"
}

want=$(cat requirements/cpu.txt pyproject.toml .ci/ready.sh | git hash-object --stdin)
find_uv
if [ -z "${only_uv:-}" ] && [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    echo "Installing the libraries of requirements/cpu.txt into .venv (once) ..." >&2
    make_environment
fi
as_root=
[ "$(id -u)" != 0 ] || as_root=--allow-root
