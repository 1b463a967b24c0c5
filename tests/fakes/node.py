"""A fake machine for `ray up`: a folder in which stubs of `ssh` and `rsync` run commands and copy files.

The programs that cluster.yaml calls there (`ray`, `python`, the set-up script) only record their arguments.
"""

from dataclasses import dataclass
from pathlib import Path

# After user@host come the words of the remote command, which the remote shell splits again.
SSH = r"""#!/bin/bash
while [ $# -gt 0 ] && [[ "$1" != ubuntu@* ]]; do shift; done
shift
command="$*"
command="${command//\/home\/ubuntu/$NODE}"
command="${command//\/tmp\/ray\//$NODE/ray/}"
cd "$NODE" && exec env -i HOME="$NODE" PATH=/usr/bin:/bin bash -c "$command" 2>>"$NODE/stderr.log"
"""
RSYNC = r"""#!/bin/bash
source="${@: -2:1}"
target="${@: -1}"
target="${target#*:}"
target="${target/#\/home\/ubuntu/$NODE}"
target="${target/#\~/$NODE}"
mkdir -p "$(dirname "$target")" && cp -rT "$source" "${target%/}"
if [ -d "$NODE/ocr_ray/deploy" ]; then cp "$NODE/.venv/note" "$NODE/ocr_ray/deploy/set_up_node.sh"; fi
"""
NOTE = r"""#!/bin/bash
name=$(basename "$0")
echo "$name $*" >> "$HOME/calls.log"
env > "$HOME/environment-$name"
"""


@dataclass(frozen=True)
class FakeNode:
    """The folders of the machine and of the stubs."""

    home: Path
    stubs: Path

    @property
    def calls(self) -> list[str]:
        """The recorded calls, in order."""
        log = self.home / "calls.log"
        return log.read_text().splitlines() if log.exists() else []

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a program's last call."""
        lines = self.home.joinpath(f"environment-{name}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


def make_node(folder: Path) -> FakeNode:
    """Create an empty machine."""
    node = FakeNode(folder / "node", folder / "stubs")
    for path, text in {
        node.stubs / "ssh": SSH,
        node.stubs / "rsync": RSYNC,
        node.home / ".venv/note": NOTE,
        node.home / "ocr_ray/.venv/bin/ray": NOTE,
        node.home / "ocr_ray/.venv/bin/python": NOTE,
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    node.home.joinpath("ray/session_latest/logs").mkdir(parents=True)
    node.home.joinpath(".bashrc").write_text("# the default of Ubuntu\ncase $- in *i*) ;; *) return;; esac\n")
    return node


def add_tools(node: FakeNode, *, has_gpu: bool) -> Path:
    """Add stubs of the programs of an Ubuntu image, which record their calls; return their folder."""
    tools, note = node.home / "tools", (node.home / ".venv/note").read_text()
    uv = note + 'if [ "$2" = find ]; then echo /opt/python; fi\n'
    pip = note + 'cp "$HOME/tools/.uv" "$HOME/uv/bin/uv"\n'
    venv = note + 'mkdir -p "$HOME/uv/bin" && cp "$HOME/tools/.pip" "$HOME/uv/bin/pip"\n'
    programs = {"sudo": note, "cloud-init": note, "python3": venv, ".pip": pip, ".uv": uv}
    for name, text in (programs | ({"nvidia-smi": note} if has_gpu else {})).items():
        tools.mkdir(exist_ok=True)
        tools.joinpath(name).write_text(text)
        tools.joinpath(name).chmod(0o755)
    return tools
