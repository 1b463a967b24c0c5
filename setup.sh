#!/usr/bin/env bash
# Sets up .venv on a fresh Debian or Ubuntu machine; other systems need Python 3.11 or newer and the fonts.
# PYTHON and TORCH_BACKEND are those of the Makefile.
set -euo pipefail
cd "$(dirname "$0")"

say() { echo "setup: $*" >&2; }

# Installs Debian packages; fails if this user is not allowed to.
apt_install() {
    command -v apt-get >/dev/null || return 1
    local root=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        root=(sudo -n)
    fi
    say "installing $*"
    "${root[@]}" apt-get update -qq >&2 &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >&2
}

is_usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if is_usable "$python"; then echo "$python" && return; fi
    done
    return 1
}

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

if [ -n "${PYTHON:-}" ]; then
    python=$PYTHON
    is_usable "$python" || { say "PYTHON must be Python 3.11 or newer with venv, got $python"; exit 1; }
elif ! python=$(find_python); then
    apt_install python3 python3-venv || true
    python=$(find_python) || { apt_install python3.11 python3.11-venv || true; }
    python=$(find_python) || { say "Python 3.11 or newer with venv must be installed; none found"; exit 1; }
fi

# Completes a .venv without pip (of uv, or of a set-up that was stopped), and replaces one whose Python is gone.
in_venv() { .venv/bin/python "$@" >/dev/null 2>&1; }
in_venv -m pip --version || in_venv -m ensurepip || "$python" -m venv --clear .venv
has=$(version .venv/bin/python)
needed=${PYTHON:+$(version "$PYTHON")}
if ! in_venv -c 'import sys; sys.exit(sys.version_info < (3, 11))' || [ "$has" != "${needed:-$has}" ]; then
    say ".venv must have Python ${needed:-3.11 or newer}, it has $has; remove the folder .venv and run this again"
    exit 1
fi

has_font() {
    [ -n "$(find /usr/share/fonts /usr/local/share/fonts "$HOME/.local/share/fonts" "$HOME/.fonts" \
        -iname "$1" -print -quit 2>/dev/null || true)" ]
}

missing=()
has_font 'batang.tt?' && has_font 'gulim.tt?' || missing+=(fonts-baekmuk)
has_font 'NanumGothic.ttf' || has_font 'malgun.ttf' || missing+=(fonts-nanum)
if [ ${#missing[@]} -gt 0 ] && ! apt_install "${missing[@]}"; then
    say "WARNING: apt-get cannot run here, so these fonts are missing: ${missing[*]}." \
        "The demo uses the other fonts, and NanumGothic from PyPI."
fi

# Every file but those of torch must have a hash of constraints.txt, including what builds packages from source.
sed -n '/^uv==/,/[^\]$/p' constraints.txt > .venv/uv.txt
.venv/bin/python -m pip install --quiet --require-hashes --requirement .venv/uv.txt
uv_install() { .venv/bin/uv pip install --quiet --python .venv/bin/python "$@"; }
say "installing the dependencies"
uv_install --no-deps --require-hashes --build-constraints constraints.txt --requirement constraints.txt
say "installing torch (${TORCH_BACKEND:-the build that pip chooses})"
if [ -n "${TORCH_BACKEND:-}" ]; then
    uv_install --torch-backend "$TORCH_BACKEND" --requirement torch.txt
else
    .venv/bin/python -m pip install --quiet --requirement torch.txt
fi
say "installing ocr_ray"
uv_install --no-deps --build-constraints constraints.txt --editable .
# uv leaves this to the first import, and where that may not write, each process of Ray would compile anew.
say "compiling the packages to bytecode"
.venv/bin/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true  # some are templates, not Python
