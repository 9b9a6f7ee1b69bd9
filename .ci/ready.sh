# Sourced by the Makefile in the project's folder: makes .venv from requirements/cpu.txt, with the
# CPython 3.11 that MXNet needs, or finds in an instant that it is there. Sets $python and $uv.
# (Follow it by `;`, not `&&`: a shell ignores `set -e` on the left of `&&`.)

set -eu
python=.venv/bin/python
stamp=.venv/complete
unset PYTHONPATH PYTHONHOME # another project's modules would come before ours

fail() {
    printf '%s\n' "" "$@" >&2
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
    [ -z "$uv" ] || return 0
    uv=.tools/uv/bin/uv
    "$uv" --version >/dev/null 2>&1 || fetch_uv >&2 ||
        fail "uv could not be fetched. Install uv (docs.astral.sh/uv), or what python3 needs to make" \
            "an environment (on Debian and Ubuntu: apt-get install python3-venv), and run this again."
}

# Into an environment of its own, or by the pip that python3 has: each leaves .tools/uv/bin/uv.
fetch_uv() {
    echo "Fetching uv into .tools ..."
    rm -rf .tools/uv
    if python3 -m venv .tools/uv; then
        .tools/uv/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt
    else
        rm -rf .tools/uv
        python3 -m pip install --quiet --require-hashes -r requirements/uv.txt --target .tools/uv
    fi
}

# From nothing each time: files that an interrupted installation left look complete to uv.
make_environment() {
    rm -rf .venv
    "$uv" venv --quiet --python 3.11 .venv ||
        fail "MXNet 1.9.1 needs CPython 3.11, and uv could neither find nor fetch one." \
            "Install Python 3.11 (python.org, pyenv, conda or your system's packages) and run this again."
    # Compiled once: where PYTHONDONTWRITEBYTECODE is set, each kernel would compile MXNet anew.
    "$uv" pip sync --quiet --compile-bytecode --require-hashes --python "$python" requirements/cpu.txt ||
        fail "The libraries in requirements/cpu.txt could not be installed (see above)." \
            "MXNet 1.9.1 has wheels for Linux (x86-64, aarch64) and macOS (Intel), and for nothing else."
    "$uv" pip install --quiet --no-deps --no-build-isolation --offline --python "$python" -e .
    "$python" -W ignore -c "import mxnet" ||
        fail "MXNet is installed and cannot be loaded (see above). It needs two system libraries:" \
            "on Debian and Ubuntu, apt-get install libgomp1 libquadmath0. Then run this again."
    mkdir -p .venv/share/jupyter/lab/settings
    echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' \
        >.venv/share/jupyter/lab/settings/overrides.json
    echo "$want" >"$stamp"
}

find_uv
# The folder's own path is part of it: .venv points there, and a copy must not use its original.
want=$({ pwd && cat requirements/cpu.txt pyproject.toml .ci/ready.sh; } | git hash-object --stdin)
if [ -z "${only_uv:-}" ] && { [ ! -x "$python" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; }; then
    echo "Installing the libraries of requirements/cpu.txt into .venv (once) ..." >&2
    make_environment
fi
as_root=
[ "$(id -u)" != 0 ] || as_root=--allow-root
