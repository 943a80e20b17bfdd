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
    local line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    found=("${(@f)$(COMP_LINE="$line" sweepkit -sc query=zsh 2>/dev/null)}")
    (( $#found )) && [[ -n $found[1] ]] && compadd -S '' -Q -- $found || _files
}
compdef _sweepkit sweepkit""",
    "fish": """\
function __sweepkit
    set -l found (env COMP_LINE=(commandline -cp | string collect) sweepkit -sc query=fish 2>/dev/null)
    string match -qr . -- $found; and printf '%s\\n' $found; or __fish_complete_path (commandline -ct)
end
complete -c sweepkit -f -a '(__sweepkit)'""",
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
