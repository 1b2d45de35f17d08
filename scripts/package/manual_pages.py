#!/usr/bin/python3
"""Writes the manual pages, NAME.1.gz, from what `--help` says.

    scripts/package/manual_pages.py build/bin/quantbound scripts/analysis/quantbound-plot ... --output FOLDER

A page for the program, one for each of its verbs (quantbound-sweep.1.gz) and one for each command after it. The date of the pages
is SOURCE_DATE_EPOCH, if that is set, or today.
"""
import datetime
import gzip
import os
import re
import sys

import help_text


def escaped(text):
    """Plain text for troff: nothing in it is a request, and options can be copied from the page."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    text = re.sub(r"\{.*?\}", lambda choices: choices[0].replace(",", r",\:"), text)  # a long list may be broken
    return re.sub(r"(?m)^(?=[.'])", r"\\&", text)


def bold(text):
    return rf"\fB{text}\fR"


def term(entry):
    """An option with bold names and a slanted value; everything else bold."""
    if not entry.names:
        return bold(escaped(entry.term))
    value = rf" \fI{escaped(entry.value)}\fR" if entry.value else ""
    return ", ".join(bold(escaped(name)) for name in entry.names) + value


def described(entry):
    text = entry.text
    if entry.default is not None:
        text = f"{text} (default: {entry.default})" if text else f"default: {entry.default}"
    return escaped(text)


def paragraph(lines):
    """Prose is filled; a block that is set in or has columns stays as it is."""
    if any(line.startswith(" ") or re.search(r"\S {2,}\S", line) for line in lines):
        margin = min(map(help_text.indent, lines))
        return "\n".join([".PP", ".nf", *(escaped(line[margin:]) for line in lines), ".fi"])
    return "\n".join([".PP", *map(escaped, lines)])


def page(name, text, version, day, others):
    title = escaped(name.upper())
    synopsis = escaped(text.usage).replace(escaped(text.command), bold(escaped(text.command)), 1)
    lines = [f'.TH "{title}" 1 "{day}" "{version}" "User Commands"', ".nh", ".ad l", ".SH NAME", rf"{escaped(name)} \- {escaped(text.summary)}",
             ".SH SYNOPSIS", synopsis, ".SH DESCRIPTION", *map(paragraph, text.paragraphs)]
    for section in text.sections:
        lines.append(f'.SH "{section.title.upper()}"')
        for entry in section.entries:
            lines += [".TP", term(entry), *filter(None, [described(entry)])]
    lines += [".SH SEE ALSO", ",\n".join(rf"\fB{escaped(other)}\fR(1)" for other in sorted(others)) + "."]
    # A paragraph right below a heading needs no request.
    return re.sub(r"(?m)^(\.SH .*)\n\.PP$", r"\1", "\n".join(lines)) + "\n"


def make(program, commands):
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    day = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).date() if epoch else datetime.date.today()
    pages = help_text.of_program(program) | help_text.of_scripts(sys.executable, commands)
    version = help_text.version(program)
    # No name and no time in the file: equal builds give equal bytes.
    return {f"{name}.1.gz": gzip.compress(page(name, text, version, day, pages.keys() - {name}).encode(), 9, mtime=0) for name, text in pages.items()}


if __name__ == "__main__":
    help_text.generate(__doc__.split("\n")[0], "quantbound*.1.gz", make)
