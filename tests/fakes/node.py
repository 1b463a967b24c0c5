"""A machine that `ray up` sets up: a folder in which stub `ssh` and `rsync` run commands and copy files.

What cluster.yaml calls there, `ray`, `python` and the set-up script, only notes how it was called.
"""

from dataclasses import dataclass
from pathlib import Path

# Behind user@host come the words of the remote command, which the shell there splits anew.
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
    """The folder that stands for a machine, and the one of the stubs."""

    home: Path
    stubs: Path

    @property
    def calls(self) -> list[str]:
        """What was called, in order."""
        log = self.home / "calls.log"
        return log.read_text().splitlines() if log.exists() else []

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of the last call of a program."""
        lines = self.home.joinpath(f"environment-{name}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


def make_node(folder: Path) -> FakeNode:
    """Make an empty machine."""
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
    node.home.joinpath(".bashrc").write_text(
        "# as every user of Ubuntu has one\ncase $- in *i*) ;; *) return;; esac\n"
    )
    return node


def add_tools(node: FakeNode, *, has_gpu: bool) -> Path:
    """Give a machine what an image of Ubuntu has, noting how it is called; return its folder."""
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
