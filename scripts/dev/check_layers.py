#!/usr/bin/python3
"""Holds every #include and every print of include/ and src/ against the table of rooms (docs/design.md 3).

    scripts/dev/check_layers.py [REPOSITORY]

Rooms include downwards only; the siblings bounds, certify, observe and reconstruct never include each other; MPI, HDF5,
protobuf/ONNX, oneDNN and Boost.Program_options stay where they belong; libraries neither print nor exit; no type is defined
twice under one name. Prints one line per violation, `file:line: what`, and exits with 1 if there is any.
"""
import pathlib
import re
import sys

# What each room may include, besides itself and whatever those may include.
USES = {
    "core": [],
    "tensor": ["core"],
    "network": ["tensor"],
    "quantize": ["network"],
    "bounds": ["quantize"],
    "certify": ["quantize"],
    "observe": ["quantize"],
    "reconstruct": ["quantize"],
    "sweep": ["bounds", "certify", "observe", "reconstruct"],
    "parallel": ["core"],
    "store": ["sweep", "core"],
}

# Headers of libraries that have a fixed place: (what is included, where it may be, the place in words).
PLACES = [
    (r"mpi\.h", r"(include/quantbound|src)/(parallel|store)/", "the rooms parallel and store"),
    (r"hdf5(_hl)?\.h|H5\w*\.h", r"(include/quantbound|src)/(store|observe)/", "the rooms store and observe"),
    (r"google/protobuf/stubs/common\.h", r"src/network/onnx_[^/]*$|apps/main\.cpp$", "src/network/onnx_* and the shutdown in main"),
    (r"(onnx|google/protobuf)/(?!stubs/common\.h).*", r"src/network/onnx_[^/]*$", "src/network/onnx_*"),
    (r"(oneapi/dnnl/)?dnnl\w*\.h(pp)?", r"src/tensor/", "src/tensor"),
    (r"boost/program_options.*", r"apps/", "apps"),
]

MAY_PRINT = {"src/core/assert.cpp"}  # a failed assertion says so and aborts
PRINTS = re.compile(
    r"std::(cout|cerr|clog)\b|\bfmt::print\b|<(iostream|fmt/ostream\.h)>"
    r"|(?<![\w.>])(?:std::|::)?(?:printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|fputc|perror)\s*\("
)
EXITS = re.compile(r"(?<![\w.>])(?:std::|::)?(?:exit|_exit|_Exit|quick_exit|abort|terminate)\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
NAMESPACE, NAMESPACE_END = re.compile(r"^(?:inline )?namespace ?([\w:]*) ?\{$"), re.compile(r"^}  // namespace")
TYPE = re.compile(r"^(?:struct|class|enum|enum class|union) (\w+)(?: final)?(?: : [^;]*)?(?: \{.*)?$")
COMMENTS_AND_STRINGS = re.compile(
    r"""//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\\n])'|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*\"""", re.DOTALL
)


def below(room):
    """The room itself and everything it may include, directly or through another room."""
    reached = {room}
    for used in USES[room]:
        reached |= below(used)
    return reached


def room_of(path):
    parts = pathlib.PurePosixPath(path).parts
    return parts[2] if parts[:2] == ("include", "quantbound") else parts[1] if parts[0] == "src" else None


def without_comments_and_strings(text):
    """The code alone, with its line numbers; #include lines keep their names."""

    def blank(match):
        line_start = text.rfind("\n", 0, match.start()) + 1
        if match[0].startswith('"') and INCLUDE.match(text[line_start : match.end()]):
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])

    return COMMENTS_AND_STRINGS.sub(blank, text)


def include_violation(path, bracket, name, repository):
    for pattern, place, words in PLACES:
        if re.fullmatch(pattern, name) and not re.match(place, path):
            return f"{name} belongs to {words}"
    if name.startswith("quantbound/"):
        room, used = room_of(path), name.split("/")[1]
        if used not in USES:
            return f"{name}: no such room"
        if room is not None and used not in below(room):
            return f"the room {room} may not include {used}"
    elif bracket == '"' and name != "version_generated.hpp":  # made by the build
        target = (repository / path).parent.joinpath(name).resolve()
        room = repository.resolve() / pathlib.PurePosixPath(*pathlib.PurePosixPath(path).parts[:-1 if path.startswith("apps/") else 2])
        if target.is_file() and target.is_relative_to(room):
            return None
        return f'"{name}" is neither quantbound/<room>/... nor a private file of this room'
    return None


def types_of(text):
    """(line, qualified name) of the types that a file defines for others to see: the linker takes two of one name for one."""
    inside = []
    for number, line in enumerate(text.splitlines(), start=1):
        if opened := NAMESPACE.match(line):
            inside.append(opened[1])
        elif NAMESPACE_END.match(line):
            inside.pop()
        elif (found := TYPE.match(line)) and all(inside):
            yield number, "::".join([*inside, found[1]])


def violations(repository):
    """All violations as "file:line: what", in the order of the files."""
    found = []
    files = sorted(p for top in ("include", "src", "apps") for p in (repository / top).rglob("*.[ch]pp"))
    types = {}
    for file in files:
        path = file.relative_to(repository).as_posix()
        for number, name in types_of(file.read_text()):
            first = types.setdefault(name, f"{path}:{number}")
            if first != f"{path}:{number}":
                found.append(f"{path}:{number}: {name} is also defined in {first}")
        if room_of(path) not in USES and not path.startswith("apps/"):
            found.append(f"{path}:1: {room_of(path)} is not a room of scripts/dev/check_layers.py")
            continue
        for number, line in enumerate(without_comments_and_strings(file.read_text()).splitlines(), start=1):
            include = INCLUDE.match(line)
            problem = include_violation(path, include[1], include[2], repository) if include else None
            if problem:
                found.append(f"{path}:{number}: {problem}")
            if path.startswith("apps/") or path in MAY_PRINT:
                continue
            if PRINTS.search(line):
                found.append(f"{path}:{number}: libraries do not print: {line.strip()}")
            if EXITS.search(line):
                found.append(f"{path}:{number}: libraries do not end the program: {line.strip()}")
    return found, len(files)


def main():
    repository = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]).resolve()
    found, files = violations(repository)
    print("\n".join(found) if found else f"{files} files keep to their rooms")
    if not files:
        sys.exit(f"check_layers.py: error: no sources ({repository})")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
