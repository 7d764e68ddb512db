# Sourced by run_full_pipeline.sh and run_tests.sh: creates .venv with the given requirements unless it is up to date,
# and sets $python. The variable PYTHON selects the interpreter, Python 3.11 to 3.13.
requirements=$1
python=.venv/bin/python
stamp=.venv/.$(basename "$requirements")
expected=$(cat requirements*.txt | cksum)
if [ ! -x "$python" ] || ! "$python" -c "" 2>/dev/null; then
    for candidate in ${PYTHON:-python3.12 python3.11 python3.13 python3}; do
        if "$candidate" -c "import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" 2>/dev/null; then
            found=$candidate
            break
        fi
    done
    if [ -z "${found:-}" ]; then
        echo "error: python: found none of version 3.11 to 3.13; expected one on the PATH; install it or set PYTHON" >&2
        exit 2
    fi
    echo "creating .venv with $("$found" --version)"
    rm -rf .venv
    "$found" -m venv .venv || exit 2
fi
if [ "$(cat "$stamp" 2>/dev/null)" != "$expected" ]; then
    echo "installing $requirements (about a minute)"
    if ! "$python" -m pip install --quiet --disable-pip-version-check -r "$requirements"; then
        echo "error: $requirements: pip failed, see above; expected a reachable package index; check the connection and rerun" >&2
        exit 2
    fi
    echo "$expected" > "$stamp"
fi
