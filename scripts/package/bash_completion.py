#!/usr/bin/python3
"""Writes bash's completion of quantbound and of the analysis commands, one file per command, from what `--help` says.

    scripts/package/bash_completion.py build/bin/quantbound scripts/analysis/quantbound-plot ... --output FOLDER

Completed are verbs, options, the words that an option may be (`a, b or c` in its text), and names of files by what the help calls
them: STUDY is a .toml, NETWORK an .onnx or .nnet, RESULTS an .h5, FILE.csv a .csv, FILE any. The files need Debian's
bash-completion, which loads them when the command is typed.
"""
import re
import sys

import help_text

FILES = {"STUDY": "toml", "NETWORK": "@(onnx|nnet)", "RESULT": "h5", "result": "@(h5|csv)"}


def pattern_of(placeholder):
    """The argument of _filedir for a placeholder; None where it is not a file, "" for any file."""
    word = re.match(r"[A-Za-z]*", placeholder)[0].removesuffix("S")
    extension = re.match(r"\w+\.(\w+)", placeholder)
    if word in FILES:
        return FILES[word]
    if word in ("FILE", "OUT"):
        return extension[1] if extension else ""
    return None


def offer(choices, placeholder):
    """Lines of bash that fill COMPREPLY, without `return`."""
    if choices and placeholder.endswith(",M...]"):
        # A list: the last word of it.
        return f'''local head="${{cur%"${{cur##*,}}"}}"
            mapfile -t COMPREPLY < <(compgen -P "$head" -W "{' '.join(choices)}" -- "${{cur##*,}}")'''
    if choices:
        return f'''mapfile -t COMPREPLY < <(compgen -W "{' '.join(choices)}" -- "$cur")'''
    pattern = pattern_of(placeholder)
    if pattern is None:
        return "COMPREPLY=()"
    return f"_filedir '{pattern}'" if pattern else "_filedir"


def value_cases(text, prefix=""):
    cases = []
    for entry in text.options:
        if entry.value:
            labels = "|".join(f"{prefix}{name}" for name in entry.names)
            cases.append(f"        {labels})\n            {offer(entry.choices, entry.value)}\n            return ;;")
    return cases


def words(text):
    return " ".join(name for entry in text.options for name in entry.names)


def function(name):
    return "_" + name.replace("-", "_")


HEAD = '''# bash completion of {name}, made from its --help by scripts/package/bash_completion.py ({version})
{function}()
{{
    local cur prev words cword split
    _init_completion -s || return
'''


def of_program(pages, version):
    verbs = {name.removeprefix("quantbound-"): text for name, text in pages.items() if name != "quantbound"}
    names = " ".join(verbs)
    topics = " ".join(entry.term.split()[-1] for entry in pages["quantbound"].section("References"))
    cases = [case for verb, text in verbs.items() for case in value_cases(text, f"{verb},")]
    inputs = []
    for verb, text in verbs.items():
        placeholder = text.usage.split()[2]
        inputs.append(f'        {verb})\n            options="{words(text)}"\n            [[ $cur == -* ]] || {offer([], placeholder)} ;;')
    body = HEAD.format(name="quantbound", version=version, function="_quantbound") + f'''    local verb="${{words[1]}}" options
    if [[ $cword -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "{names} help {words(pages["quantbound"])}" -- "$cur")
        return
    fi
    case "$verb,$prev" in
        help,help)
            mapfile -t COMPREPLY < <(compgen -W "{names} {topics}" -- "$cur")
            return ;;
{chr(10).join(cases)}
    esac
    case "$verb" in
{chr(10).join(inputs)}
        *)
            return ;;
    esac
    [[ $cur == -* ]] && mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
}} && complete -F _quantbound quantbound
'''
    return body


def of_command(name, text, version):
    """argparse: positional words are files, or one of {choices}."""
    choices = [word for entry in text.section("positional arguments") for word in entry.choices]
    patterns = [pattern for entry in text.section("positional arguments") if not entry.choices
                for pattern in [pattern_of(entry.term)] if pattern is not None]
    fill = f'''mapfile -t COMPREPLY < <(compgen -W "{' '.join(choices)}" -- "$cur")'''
    files = f"_filedir '{patterns[0]}'" if patterns and patterns[0] else "_filedir"
    return HEAD.format(name=name, version=version, function=function(name)) + f'''    case "$prev" in
{chr(10).join(value_cases(text))}
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "{words(text)}" -- "$cur")
        return
    fi
    {fill}
    {files}
}} && complete -F {function(name)} {name}
'''


def make(program, commands):
    version = help_text.version(program)
    files = {"quantbound": of_program(help_text.of_program(program), version)}
    for name, text in help_text.of_scripts(sys.executable, commands).items():
        files[name] = of_command(name, text, version)
    return {name: content.encode() for name, content in files.items()}


if __name__ == "__main__":
    help_text.generate(__doc__.split("\n")[0], "quantbound*", make)
