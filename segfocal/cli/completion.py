"""`segfocal completion`: what makes a shell complete commands, options, and the choices of Hydra's groups.

source <(segfocal completion bash)
"""

from __future__ import annotations

import argparse
import os
import sys

from segfocal.cli.app import conf_folder, run_plainly
from segfocal.cli.main import COMMANDS

_QUERY = "query"  # what the scripts below ask for
_LINE = "SEGFOCAL_LINE"
_ASK = f'{_LINE}="${{COMP_LINE:0:$COMP_POINT}}" segfocal completion {_QUERY} 2>/dev/null'
_BASH = f"""_segfocal() {{
    local IFS=$'\\n' word="${{COMP_LINE:0:$COMP_POINT}}"
    word="${{word##* }}"
    local apart="${{word%"${{word##*[=:]}}"}}"  # which readline has set apart already
    COMPREPLY=($({_ASK}))
    COMPREPLY=("${{COMPREPLY[@]#"$apart"}}")
}}
complete -o nospace -o default -F _segfocal segfocal"""
_ZSH = f"""autoload -U +X bashcompinit && bashcompinit
_segfocal() {{
    local IFS=$'\\n'
    COMPREPLY=($({_ASK}))
}}
complete -o nospace -o default -F _segfocal segfocal"""


def main() -> int:
    """Run the command; return its exit code."""
    if sys.argv[1:] == [_QUERY]:
        return run_plainly(lambda: print("\n".join(completions(os.environ.get(_LINE, "")))))
    parser = argparse.ArgumentParser(
        prog="segfocal completion",
        description="Print a script for a shell; source it there: source <(segfocal completion bash)",
    )
    parser.add_argument("shell", choices=("bash", "zsh"))
    shell = parser.parse_args().shell
    print(_BASH if shell == "bash" else _ZSH)
    return 0


def completions(line: str) -> list[str]:
    """Return what the last word of a command line, up to the cursor, may become; none where files may.

    Args:
        line: as typed, "segfocal train loss=fo".
    """
    _, _, typed = line.partition(" ")
    command, rest, options = typed.lstrip().partition(" ")
    if not rest:
        return [f"{name} " for name in COMMANDS if name.startswith(command)]
    config = command.replace("-", "_")
    if command not in COMMANDS or not (conf_folder() / f"{config}.yaml").is_file():
        return []
    return _of_hydra(config, options)


def _of_hydra(config: str, options: str) -> list[str]:
    """Return what Hydra makes of the last of a command's options; none where those before it cannot be read."""
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.bash_completion import BashCompletion
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder())):
        loader = GlobalHydra.instance().config_loader()
        try:
            found = BashCompletion(loader)._query(config_name=config, line=options)
        except Exception:  # half a command line may be wrong in any way, and there is nobody to be told
            return []
    return sorted({str(one) for one in found if not str(one).startswith("hydra")})
