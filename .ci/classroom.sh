# Sourced after ready.sh, by `make classroom`: makes .venv-classroom, the grader's own environment,
# from requirements/classroom.txt, or finds that it is there. Sets $grader.

grader=.venv-classroom/bin/python
want=$({ pwd && cat requirements/classroom.txt .ci/classroom.sh; } | git hash-object --stdin)
if [ ! -x "$grader" ] || [ "$(cat .venv-classroom/complete 2>/dev/null)" != "$want" ]; then
    echo "Installing nbgrader and its libraries (requirements/classroom.txt) into .venv-classroom (once) ..." >&2
    rm -rf .venv-classroom
    "$uv" venv --quiet --python "$python" .venv-classroom ||
        fail "The environment of the classroom could not be made (see above)."
    "$uv" pip sync --quiet --compile-bytecode --require-hashes --python "$grader" requirements/classroom.txt ||
        fail "The libraries in requirements/classroom.txt could not be installed (see above)."
    echo "$want" >.venv-classroom/complete
fi
