#!/bin/sh
# Makes the environment .venv beside this file and installs recon4d into it, unless that is done already.
# `sh install.sh dev` adds the developers' tools. PYTHON names another interpreter than python3. Packages come with uv
# where it is on the PATH (UV names another one, `UV= sh install.sh` none), otherwise with pip, from where pip looks.
set -eu
cd "$(dirname "$0")"
case "${1:-}" in
    "") extras=all size="0.7 GB" ;;
    dev) extras=all,dev size="0.8 GB" ;;
    *) echo "install.sh: unknown word '$1'; use: sh install.sh [dev]" >&2; exit 2 ;;
esac
done=.venv/installed-$extras
[ -e .venv/installed-all,dev ] && done=.venv/installed-all,dev # has what users need, too
if [ -e "$done" ] && [ ! pyproject.toml -nt "$done" ]; then
    echo "install.sh: .venv is up to date"
    exit
fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "install.sh: '$python' is not Python 3.11 or newer; set PYTHON to one that is" >&2
    exit 2
fi
uv=$(command -v "${UV-uv}" || true)
log=$(mktemp)
trap 'rm -f "$log" "$log.failed"' EXIT
trap 'exit 130' INT TERM
started=$(date +%s)

shown() { # run a command and show of its output the large files that it fetches; all of it where it fails
    rm -f "$log.failed"
    { "$@" </dev/null 2>&1 || echo $? >"$log.failed"; } | tee -a "$log" |
        sed -n 's/^ *Downloading \([^ ]*\) (\([0-9][0-9.]*\) *\([MG]i*B\)).*/\1 \2 \3/p' |
        awk '$3 ~ /G/ || $2 >= 50 { print "  fetching " $1 ", " $2 " " $3; fflush() }'
    [ -e "$log.failed" ] || return 0
    cat "$log" >&2
    echo "install.sh: this failed (all that it said is above): $*" >&2
    echo "install.sh: .venv is not complete; the same command goes on from here" >&2
    exit 1
}

pip_says() { # a setting of pip's, from its variable or its files; uv reads neither
    value=$(printenv "PIP_$(echo "$1" | tr 'a-z-' 'A-Z_')") || value=$("$python" -m pip config get "global.$1" 2>/dev/null) || value=
    echo "$value" | tr '\n' ' ' | sed 's/ *$//'
}

as_pip() { # let uv look where pip would, unless uv was told where to look
    index=$(pip_says index-url) extra=$(pip_says extra-index-url) links=$(pip_says find-links) cert=$(pip_says cert)
    [ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX-$index}"
    [ -z "$extra" ] || export UV_INDEX="${UV_INDEX-$extra}" UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY-unsafe-best-match}" # pip's way
    [ -z "$links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS-$(echo "$links" | tr ' ' ',')}"
    [ -z "$cert" ] || export SSL_CERT_FILE="${SSL_CERT_FILE-$cert}"
}

install() {
    if [ -n "$uv" ]; then
        shown "$uv" pip install --python .venv/bin/python "$@"
    else
        shown .venv/bin/python -m pip install "$@"
    fi
}

echo "install.sh: recon4d [$extras] into .venv, with $("$python" --version) and $([ -n "$uv" ] && "$uv" --version || echo pip)"
echo "  about $size to fetch, 3 GB more where torch comes with CUDA; some minutes"
if [ -n "$uv" ]; then
    as_pip
    shown "$uv" venv --seed --allow-existing --python "$python" .venv
elif "$python" -c 'import ensurepip' 2>/dev/null; then
    shown "$python" -m venv .venv
else
    echo "install.sh: '$python' cannot make environments (it has no ensurepip); on Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 2
fi
# One command with torch's version in it: otherwise the newest torch is taken, and another one than CI has tried.
install torch==2.13.0 -e ".[$extras]"
fetched=$(awk '/^ *Downloading / && match($0, /\([0-9.]+ *[kKMG]i?B\)/) {
    of = substr($0, RSTART + 1, RLENGTH - 2); unit = of; gsub(/[0-9. ]/, "", unit)
    sum += of * (unit ~ /G/ ? 1000 : unit ~ /M/ ? 1 : 0.001) } END { printf "%.0f", sum }' "$log")
echo "install.sh: installed in $(($(date +%s) - started)) s; $fetched MB fetched, $(du -shL .venv | cut -f1) on disk"
touch "$done"
echo "install.sh: $(.venv/bin/python -m recon4d.viewer.packages)"
