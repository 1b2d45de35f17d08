#!/usr/bin/python3
"""Compiles every public header alone: one `#include` per translation unit, with the flags of its room.

    scripts/dev/check_headers.py BUILD_DIRECTORY

The flags come from BUILD_DIRECTORY/compile_commands.json (any source of the same room; core's for a room without
sources), so a header sees the include paths that its own room has, and no more.
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile


def flags_by_room(build, repository):
    """Compiler and flags of one source per room, without launcher, input and output."""
    flags = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = pathlib.Path(entry["directory"], entry["file"])
        if not source.is_relative_to(repository / "src"):
            continue
        words = shlex.split(entry["command"])
        if os.path.basename(words[0]) in ("ccache", "sccache"):
            words = words[1:]
        skip = {words.index("-o"), words.index("-o") + 1}
        skip |= {i for i, word in enumerate(words) if word == "-c" or word == entry["file"]}
        flags[source.relative_to(repository / "src").parts[0]] = [w for i, w in enumerate(words) if i not in skip]
    return flags


def compile_alone(header, flags, repository):
    """The compiler's complaint, or nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        # Twice: a missing include guard shows up as a redefinition.
        name = header.relative_to(repository / "include").as_posix()
        source.write(f'#include "{name}"\n#include "{name}"\n')
        source.flush()
        words = [*flags, "-Werror", "-fsyntax-only", "-I", str(repository / "include"), source.name]
        run = subprocess.run(words, capture_output=True, text=True)
        return f"{name} does not compile alone:\n{run.stderr}" if run.returncode else None


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: check_headers.py BUILD_DIRECTORY")
    repository = pathlib.Path(__file__).resolve().parents[2]
    flags = flags_by_room(pathlib.Path(sys.argv[1]), repository)
    headers = sorted((repository / "include").rglob("*.hpp"))
    if not flags or not headers:
        sys.exit(f"check_headers.py: error: no compile commands or no headers ({sys.argv[1]})")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rooms = [header.relative_to(repository / "include" / "quantbound").parts[0] for header in headers]
        runs = [pool.submit(compile_alone, h, flags.get(r, flags["core"]), repository) for h, r in zip(headers, rooms)]
        complaints = [run.result() for run in runs if run.result()]
    print("\n".join(complaints) if complaints else f"{len(headers)} headers compile alone")
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
