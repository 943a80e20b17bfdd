"""The shell scripts that turn completion on and off."""

from __future__ import annotations

from collections.abc import Sequence

from sweepkit import errors

_SCRIPTS = {
    "bash": """\
_sweepkit() {
    local IFS=$'\\n'
    COMPREPLY=($(COMP_LINE="${COMP_LINE:0:COMP_POINT}" sweepkit -sc query=bash 2>/dev/null))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _sweepkit sweepkit""",
    "zsh": """\
_sweepkit() {
    local -a found
    found=("${(@f)$(COMP_LINE="${BUFFER[1,CURSOR]}" sweepkit -sc query=zsh 2>/dev/null)}")
    compadd -S '' -Q -- $found
}
compdef _sweepkit sweepkit""",
    "fish": """\
complete -c sweepkit -f -a '(env COMP_LINE=(commandline -cp) sweepkit -sc query=fish 2>/dev/null)'""",
}
_REMOVED = {
    "bash": "complete -r sweepkit",
    "zsh": "compdef -d sweepkit",
    "fish": "complete -c sweepkit -e",
}


def install(arguments: Sequence[str]) -> int:
    """Print a shell's script, to be evaluated there."""
    asked = dict(item.partition("=")[::2] for item in arguments)
    scripts = _REMOVED if "uninstall" in asked else _SCRIPTS
    shell = asked.get("install") or asked.get("uninstall") or ""
    if shell not in scripts:
        raise errors.invalid(
            "-sc",
            " ".join(arguments),
            f"be install=SHELL, with one of {', '.join(scripts)}",
            'write eval "$(sweepkit -sc install=bash)"',
        )
    print(scripts[shell])
    return 0
