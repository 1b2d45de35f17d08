"""follow.py PAGE REPOSITORY FOLDER: does what docs/adding.md says about a bound, in FOLDER instead of the repository.

A `cpp` block of the page begins with the path of its file. New files are written as they are; of the block for theories.cpp the
first line is put behind the declarations that are there, the second at the end of the table.
"""
import pathlib
import re
import sys

REGISTRY = "src/bounds/theories.cpp"


def blocks(page):
    found = {}
    for block in re.findall(r"^```cpp\n// (.*?)\n(.*?)^```", page, re.M | re.S):
        found[block[0]] = block[1]
    return found


def behind_last(text, pattern, line):
    last = list(re.finditer(pattern, text, re.M))[-1]
    return text[:last.end()] + line + text[last.end():]


def main():
    page, repository, folder = map(pathlib.Path, sys.argv[1:])
    files = blocks(page.read_text())
    declaration, row = files[REGISTRY].splitlines(keepends=True)
    registry = (repository / REGISTRY).read_text()
    registry = behind_last(registry, r"^TheoryResult \w+\(const \w+&\);\n", declaration)
    files[REGISTRY] = behind_last(registry, r"^    Theory\{(?:[^{}])*\},\n", row)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"{len(files)} files")


if __name__ == "__main__":
    main()
