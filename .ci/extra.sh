# Sourced after ready.sh with $extra set to a name: makes .venv-$extra, an environment of its own,
# from requirements/$extra.txt, or finds that it is there. Sets $python. CPython 3.11, or $version.

python=.venv-$extra/bin/python
want=$({ pwd && cat "requirements/$extra.txt" .ci/extra.sh; } | git hash-object --stdin)
if [ ! -x "$python" ] || [ "$(cat ".venv-$extra/complete" 2>/dev/null)" != "$want" ]; then
    echo "Installing the libraries of requirements/$extra.txt into .venv-$extra (once) ..." >&2
    rm -rf ".venv-$extra"
    for bin in "${PYENV_ROOT:-$HOME/.pyenv}/versions/${version:=3.11}"*/bin; do
        PATH=$PATH:$bin # pyenv has more versions than those on the PATH
    done
    "$uv" venv --quiet --python "$version" ".venv-$extra" &&
        "$uv" pip sync --quiet --compile-bytecode --require-hashes --python "$python" "requirements/$extra.txt" ||
        fail "The libraries in requirements/$extra.txt could not be installed (see above)."
    echo "$want" >".venv-$extra/complete"
fi
