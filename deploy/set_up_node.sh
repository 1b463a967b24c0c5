#!/usr/bin/env bash
# Sets up an Ubuntu node of the cluster: fonts, Python $PYTHON_VERSION and the versions of constraints.txt in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PYTHON_VERSION:?must be set to the version of Python to install, such as 3.11}"

# cloud-init and unattended upgrades hold the lock of apt on a machine that has just started.
if command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null || true; fi
sudo systemctl disable --now apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service || true
echo 'DPkg::Lock::Timeout "300";' | sudo tee /etc/apt/apt.conf.d/90lock-timeout >/dev/null

# uv installs the tested Python, whatever the image has; its version is pinned in constraints.txt too.
if [ ! -x ~/uv/bin/uv ]; then
    sudo apt-get update -qq
    sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv
    python3 -m venv ~/uv
    sed -n '/^uv==/,/[^\]$/p' constraints.txt > ~/uv/uv.txt
    ~/uv/bin/pip install --quiet --require-hashes --requirement ~/uv/uv.txt
fi
~/uv/bin/uv python install --quiet "$PYTHON_VERSION"
PYTHON=$(~/uv/bin/uv python find --managed-python "$PYTHON_VERSION")
export PYTHON

# Without a GPU, install the CPU build of torch, a tenth of the size.
command -v nvidia-smi >/dev/null || export TORCH_BACKEND=cpu
bash setup.sh
