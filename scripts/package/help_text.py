"""What a command's --help says, taken apart: the one source of the manual pages and of bash's completion.

A help text is `usage: ...`, paragraphs, and sections: a title at the margin that ends with a colon, and entries two columns in.
An entry is a term and, from one column on or in deeper lines below, its text. A term that ends with a backslash goes on below. Both Boost.Program_options and argparse write so.
"""
import argparse
import collections
import dataclasses
import os
import pathlib
import re
import subprocess
import sys

# "-o [ --output ] FILE (=x)" of Boost, "-o FILE, --output FILE" of argparse
NAME = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
CHOICES = re.compile(r"((?:\w+, )*\w+,? or \w+)(?=$|\s*[,;:(])")


@dataclasses.dataclass
class Entry:
    term: str
    text: str

    @property
    def names(self):
        """Of an option, short and long; empty for everything else."""
        return NAME.findall(self.term) if self.term.startswith("-") else []

    @property
    def default(self):
        found = re.search(r"\(=(.*)\)$", self.term)
        return found[1] if found else None

    @property
    def value(self):
        """The placeholder of an option's value, empty for a switch: FILE.npy, B, {a,b}."""
        rest = re.sub(r"\s*\(=.*\)$", "", NAME.sub("", self.term))
        return re.sub(r"^[\s\[\],]+", "", rest).split(", ")[0].strip()

    @property
    def choices(self):
        """The words a value may be: those of {a,b} in the term, or a text that begins with `a, b or c`."""
        braces = re.search(r"\{(.*?)\}", self.term)
        if braces:
            return braces[1].split(",")
        found = CHOICES.match(self.text) if not self.names or self.value else None
        return re.split(r",? or |, ", found[1]) if found else []


@dataclasses.dataclass
class Section:
    title: str
    entries: list


@dataclasses.dataclass
class Help:
    command: str  # "quantbound sweep"
    usage: str
    paragraphs: list  # each a list of lines
    sections: list

    @property
    def summary(self):
        text = " ".join(self.paragraphs[0]).rstrip(".")
        return text[:1].lower() + text[1:]

    def section(self, title):
        return next((section.entries for section in self.sections if section.title.lower() == title.lower()), [])

    @property
    def options(self):
        return [entry for section in self.sections for entry in section.entries if entry.names]


def indent(line):
    return len(line) - len(line.lstrip())


def entries(lines):
    """Terms stand at the least indentation. The column of the texts: where most of those begin that two spaces set off."""
    margin = min(map(indent, lines))
    columns = collections.Counter(found.end() for line in lines if indent(line) == margin
                                  for found in [re.match(r"\s*\S.*?\s{2,}(?=\S)", line)] if found)
    column = columns.most_common(1)[0][0] if columns else None
    found = []
    for line in lines:
        if indent(line) > margin and found[-1].term.endswith("\\") and not found[-1].text:
            found[-1].term = f"{found[-1].term[:-1].strip()} {line.strip()}"  # a command of several lines
        elif indent(line) > margin:
            found[-1].text = f"{found[-1].text} {line.strip()}".strip()
        elif column and len(line) > column and line[column - 1] == " " and line[column] != " ":
            found.append(Entry(line[:column].strip(), line[column:].strip()))
        else:
            found.append(Entry(line.strip(), ""))
    return found


def parse(text, command):
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", text.strip("\n"))]
    if not blocks[0][0].startswith("usage: "):
        raise ValueError(f"{command} --help begins with '{blocks[0][0]}'")
    usage = " ".join(" ".join(blocks[0]).removeprefix("usage: ").split())
    paragraphs, sections = [], []
    for block in blocks[1:]:
        if indent(block[0]) == 0 and block[0].endswith(":") and len(block) > 1 and all(line.startswith(" ") for line in block[1:]):
            sections.append(Section(block[0][:-1], entries(block[1:])))
        else:
            paragraphs.append(block)
    if not paragraphs:
        raise ValueError(f"{command} --help says nothing about it")
    return Help(command, usage, paragraphs, sections)


def ask(*words):
    # argparse wraps lines to the terminal; a launcher around the build must not look like one around the program.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI", "SLURM_"))}
    run = subprocess.run([*map(str, words)], capture_output=True, text=True, env=environment | {"COLUMNS": "100"}, check=False)
    if run.returncode != 0:
        raise ValueError(f"{' '.join(map(str, words))} fails: {run.stderr.strip()}")
    return run.stdout


def of_program(program):
    """{page name: Help}: quantbound, and quantbound-VERB for every verb of its overview."""
    overview = parse(ask(program, "--help"), "quantbound")
    pages = {"quantbound": overview}
    for entry in overview.section("Verbs"):
        verb = entry.term.split()[0]
        pages[f"quantbound-{verb}"] = parse(ask(program, verb, "--help"), f"quantbound {verb}")
    return pages


def of_scripts(python, scripts):
    """{name: Help} of commands in Python."""
    return {path.name: parse(ask(python, "-B", path, "--help"), path.name) for path in scripts}


def version(program):
    return ask(program, "--version").splitlines()[0]


def generate(purpose, pattern, make):
    """The command line of a generator: PROGRAM COMMANDS... --output FOLDER, in which the files of `make(program, commands)`,
    {name: bytes}, take the place of those that match `pattern`."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("commands", nargs="*", type=pathlib.Path)
    parser.add_argument("--output", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    try:
        files = make(arguments.program, arguments.commands)
    except ValueError as error:
        sys.exit(f"{parser.prog}: error: {error}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for old in arguments.output.glob(pattern):
        old.unlink()
    for name, content in files.items():
        (arguments.output / name).write_bytes(content)
