#!/bin/sh
# Makes .venv and installs everything the Makefile's targets need into it. Called by every target that
# needs .venv; when nothing has changed since the last complete call it returns at once.
#
# PYTHON names the interpreter that .venv is made with (default: python3).
set -eu
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=.venv
BUSY=$VENV/.installing
LOG=$VENV/setup.log
# The stamp's name says what was installed and its content where: a .venv can't be moved.
STAMP=$VENV/.installed-$(cat requirements/torch.txt requirements/lock.txt requirements/install.sh pyproject.toml | cksum | cut -d' ' -f1)
HERE=$(pwd)

say() { printf '%s\n' "setup: $*"; }
die() { printf '%s\n' "setup: $*" >&2; exit 1; }
version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# python3 is only the default: a complete .venv made with another supported Python is left alone.
have=$(version $VENV/bin/python || true)
home=$(cat $VENV/.installed-* 2>/dev/null || true)
if [ -f "$STAMP" ] && [ "$home" = "$HERE" ] && [ ! -e $BUSY ] && [ -n "$have" ] &&
    { [ "$PYTHON" = python3 ] || [ "$(version "$PYTHON")" = "$have" ]; }; then
    exit 0
fi

want=$(version "$PYTHON") || die "no Python at '$PYTHON'; install Python 3.11, 3.12 or 3.13 and run: make PYTHON=/path/to/python3.12 ..."
case $want in
    3.11 | 3.12 | 3.13) ;;
    *) die "'$PYTHON' is Python $want, but 3.11, 3.12 or 3.13 is needed; run: make PYTHON=/path/to/python3.12 ..." ;;
esac
# The interpreter itself: python3 may be the one of an activated .venv, which may have to go.
PYTHON=$("$PYTHON" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    die "'$PYTHON' can't make virtual environments (no ensurepip); on Debian or Ubuntu: apt install python$want-venv"

# What this script left half-made, or can't repair, is thrown away; any other .venv is only added to.
why=
if [ -e $BUSY ]; then
    pid=$(cat $BUSY)
    if [ -n "$pid" ] && ps -p "$pid" -o args= 2>/dev/null | grep -q requirements/install.sh; then
        die "process $pid is installing into $VENV right now; wait for it to end"
    fi
    why="its set-up did not finish"
elif [ -e $VENV ] && [ "$have" != "$want" ]; then
    why="it is not of Python $want"
elif [ -n "$home" ] && [ "$home" != "$HERE" ]; then
    why="it was made in another folder"
fi

mkdir -p $VENV
echo $$ >$BUSY
if [ -n "$why" ]; then
    say "making $VENV anew: $why"
    find $VENV -mindepth 1 ! -path $BUSY -delete
fi
rm -f $VENV/.installed-*
: >$LOG

# What pip prints goes to the log, and is shown when it fails.
pip() {
    $VENV/bin/python -m pip --disable-pip-version-check --no-input "$@" >>$LOG 2>&1 || {
        tail -n 25 $LOG >&2
        die "'pip $1' failed, see above; all it said is in $LOG"
    }
}

say "Python $want in $VENV (pip's output: $LOG)"
"$PYTHON" -m venv $VENV || die "'$PYTHON -m venv $VENV' failed, see above"

say "installing the locked packages (about 140 MB)"
# One of them, antlr4-python3-runtime, is published as source only: setuptools comes first, from the lock
# too, and builds it without isolation, which would fetch an unlocked setuptools.
awk '/^setuptools==/ { on = 1 } on { print } on && !/\\$/ { exit }' requirements/lock.txt >$VENV/.setuptools.txt
pip install --progress-bar off --require-hashes --no-deps -r $VENV/.setuptools.txt
pip install --progress-bar off --require-hashes --no-deps --no-build-isolation -r requirements/lock.txt

say "installing $(grep '^torch==' requirements/torch.txt) (about 200 MB for the CPU build, some GB with CUDA)"
pip install --progress-bar off -r requirements/torch.txt

# Under its earlier name, in a .venv of before: uninstalled later it would take the command with it.
for old in $VENV/lib/python*/site-packages/composer-*.dist-info; do
    [ ! -e "$old" ] || pip uninstall --yes composer
done
pip install --progress-bar off --no-deps --no-build-isolation -e .
pip check

echo "$HERE" >"$STAMP"
rm -f $BUSY
say "done"
