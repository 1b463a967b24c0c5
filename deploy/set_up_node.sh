#!/usr/bin/env bash
# Sets up an Ubuntu node of the cluster: fonts, Python $PYTHON_VERSION and the versions of constraints.txt in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

# A machine that has just started is still being set up and updates itself; both hold the lock of apt.
if command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null || true; fi
sudo systemctl disable --now apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service || true
echo 'DPkg::Lock::Timeout "300";' | sudo tee /etc/apt/apt.conf.d/90lock-timeout >/dev/null

# uv brings the Python that was tested, whatever the image has; its own version is pinned with the rest.
if [ ! -x ~/uv/bin/uv ]; then
    sudo apt-get update -qq
    sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv
    python3 -m venv ~/uv
    ~/uv/bin/pip install --quiet --constraint constraints.txt uv
fi
~/uv/bin/uv python install --quiet "$PYTHON_VERSION"
PYTHON=$(~/uv/bin/uv python find --managed-python "$PYTHON_VERSION")
export PYTHON

# Without a GPU the build of torch for CPUs: a tenth of the bytes.
command -v nvidia-smi >/dev/null || export TORCH_BACKEND=cpu
bash setup.sh
