#!/usr/bin/python3
"""Every theory on every fully connected ReLU network of the shared data, against checks/bounds_reference.py.

    theories_golden.py BOUNDS_JSON SHARED_DATA

Holds for each network and configuration: W' equals the reference's bit for bit, each bound equals the reference's to
1e-9 relative, and it is not below its exact value, which is computed here in integers (doubles are integers times powers
of two, so sums and products of them are exact). Exit code 77 where there are no shared data: CTest shows that as skipped.
"""
import json
import os
import subprocess
import sys
import tempfile
from fractions import Fraction

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"
import numpy as np  # noqa: E402

CONFIGURATIONS = (("round", 4), ("floor", 4), ("round", 8), ("floor", 8))
EXACT_PARAMETERS = 120000  # larger networks are compared with the reference only, except in the first configuration
NAMES = {
    "gonon": "Gonon (D+1)N L^2 r^(L-1)",
    "houache_mean": "Houache Thm4.1",
    "houache_layerwise": "Houache layerwise (no max over l)",
    "operator_norm": "OpNorm telescoping",
    "absolute_product": "AMP (abs matrix product)",
    "path_metric": "Path-metric (3 passes)",
}


class Exact:
    """A nonnegative array of exact numbers: integers over a power of two."""

    def __init__(self, integers, shift):
        self.integers, self.shift = integers, shift

    @staticmethod
    def of(array):
        array = np.abs(np.asarray(array, dtype=np.float64))
        mantissa, exponent = np.frexp(array)
        shift = int(53 - exponent.min()) if array.size else 0
        shift = max(shift, 0)
        numbers = (mantissa * 2.0**53).astype(np.int64).astype(object)
        return Exact(numbers * (2 ** (exponent.astype(object) - 53 + shift)), shift)

    def at(self, shift):
        return self.integers * 2 ** (shift - self.shift)

    def __add__(self, other):
        shift = max(self.shift, other.shift)
        return Exact(self.at(shift) + other.at(shift), shift)

    def __sub__(self, other):
        shift = max(self.shift, other.shift)
        return Exact(self.at(shift) - other.at(shift), shift)

    def __matmul__(self, vector):
        return Exact(self.integers.dot(vector.integers), self.shift + vector.shift)

    def absolute(self):
        return Exact(np.abs(self.integers), self.shift)

    def minimum(self, other):
        shift = max(self.shift, other.shift)
        return Exact(np.minimum(self.at(shift), other.at(shift)), shift)

    def row_sums(self):
        return Exact(self.integers.sum(axis=1), self.shift)

    def max(self):
        return Fraction(int(self.integers.max()), 2**self.shift)


def signed(array):
    magnitude = Exact.of(array)
    return Exact(magnitude.integers * np.sign(array).astype(int).astype(object), magnitude.shift)


def exact_bounds(weights, biases, quantized, magnitudes):
    """The same formulas as the reference, without rounding. Biases are kept."""
    depth, width = len(weights), [weights[0].shape[1]] + [w.shape[0] for w in weights]
    W, V, b, u = [Exact.of(w) for w in weights], [Exact.of(v) for v in quantized], [Exact.of(x) for x in biases], \
        Exact.of(magnitudes)
    dW = [(signed(v) - signed(w)).absolute() for w, v in zip(weights, quantized)]
    D, eta = u.max(), [d.max() for d in dW]
    E = max(eta)
    norm = [(w.row_sums().max(), v.row_sums().max()) for w, v in zip(W, V)]
    r = max([Fraction(1)] + [max(n) for n in norm] + [x.max() for x in b])
    out = {"gonon": (D + 1) * max(width) * depth**2 * r ** (depth - 1) * E}
    augmented = [max((w.row_sums() + x).max(), (v.row_sums() + x).max()) for w, v, x in zip(W, V, b)]

    def product(l, first):
        value = Fraction(1)
        for j in range(first, depth + 1):
            if j != l:
                value *= augmented[j - 1]
        return value

    P = [max(product(l, i) for i in range(1, max(l, 2))) for l in range(1, depth + 1)]
    out["houache_mean"] = max(D, 1) * sum(width[:-1]) * max(P) * E
    out["houache_layerwise"] = max(D, 1) * sum(n * e * p for n, e, p in zip(width, eta, P))
    s, total = D, Fraction(0)
    for l in range(depth):
        total = norm[l][0] * total + norm_of(dW[l]) * s
        rows, bias = V[l].row_sums(), b[l]
        s = max(Fraction(int(a), 2**rows.shift) * s + Fraction(int(c), 2**bias.shift)
                for a, c in zip(rows.integers, bias.integers))
    out["operator_norm"] = total
    z, e = u, Exact(0 * u.integers, 0)
    for l in range(depth):
        e, z = W[l] @ e + dW[l] @ z, V[l] @ z + b[l]
    out["absolute_product"] = e.max()

    def path_sum(matrices):
        v = u
        for matrix, bias in zip(matrices, b):
            v = matrix @ v + bias
        return v

    common = path_sum([w.minimum(v) for w, v in zip(W, V)])
    out["path_metric"] = (path_sum(W) + path_sum(V) - common - common).max()
    return out


def norm_of(matrix):
    return matrix.row_sums().max()


def networks(shared):
    """Paths with the domain to use: the file's own box, or [0, 1]."""
    for folder, _, files in sorted(os.walk(os.path.join(shared, "models"))):
        for name in sorted(files):
            path = os.path.join(folder, name)
            if name.endswith(".nnet"):
                yield path, ["0", "1"] if "mnist" in name else ["file"]
            elif name.endswith(".onnx") and os.path.basename(folder) != "imagenet" and os.path.basename(folder) != "npm":
                yield path, ["0", "1"]


def read_dump(path, shapes):
    numbers = np.fromfile(path)
    position = 0

    def take(*shape):
        nonlocal position
        count = int(np.prod(shape))
        position += count
        return numbers[position - count:position].reshape(shape)

    low, high = take(shapes[0][1]), take(shapes[0][1])
    layers = [(take(rows, columns), take(rows), take(rows, columns)) for rows, columns in shapes]
    assert position == len(numbers)
    return low, high, *zip(*layers)


def check(binary, reference, path, domain, quantizer, bits, exactly, dump):
    """Number of comparisons; None if the network is not a chain of dense ReLU layers."""
    process = subprocess.run([binary, path, quantizer, str(bits), *domain, dump], capture_output=True, text=True)
    if process.returncode in (1, 3):
        return None
    assert process.returncode == 0, process.stderr
    ours = json.loads(process.stdout)
    low, high, weights, biases, quantized = read_dump(dump, ours["layers"])
    if path.endswith(".nnet"):
        Ws, bs = reference.load_nnet(path)
        assert all((w == v).all() for w, v in zip(Ws, weights)) and all((a == b).all() for a, b in zip(bs, biases)), path
    for w, v in zip(weights, quantized):
        expected = reference.quant(w, bits, "rtn" if quantizer == "round" else "floor")[0]
        assert (expected == v).all(), f"{path}: W' differs from the reference"
    # The six theories read |x| only: a box of one point gives the reference's zonotope nothing to do.
    magnitudes = np.maximum(np.abs(low), np.abs(high))
    expected = reference.bounds(weights, biases, quantized, magnitudes, magnitudes)
    exact = None
    if exactly(sum(w.size for w in weights)):
        exact = exact_bounds(weights, biases, quantized, magnitudes)
    compared = 0
    for name, key in NAMES.items():
        assert isinstance(ours["bounds"][name], list), f"{path}: {name} {ours['bounds'][name]}"
        mantissa, exponent = ours["bounds"][name]
        value = Fraction(float.fromhex(mantissa)) * Fraction(2) ** exponent
        relative = abs(float(value) / expected[key] - 1)
        assert relative < 1e-9, f"{path} {quantizer} {bits}: {name} is {float(value)}, the reference {expected[key]}"
        if exact is not None:
            assert value >= exact[name], f"{path} {quantizer} {bits}: {name} is below its exact value"
            assert value <= exact[name] * (1 + Fraction(1, 10**9)), f"{path}: {name} is far above its exact value"
        compared += 1
    return compared + (len(NAMES) if exact is not None else 0)


def main():
    binary, shared = sys.argv[1:3]
    checks = os.path.join(shared, "..", "checks")
    if not os.path.isfile(os.path.join(checks, "bounds_reference.py")):
        print(f"skipped: no reference in {checks}")
        return 77
    sys.path.insert(0, checks)
    sys.dont_write_bytecode = True
    import bounds_reference as reference

    np.seterr(all="ignore")
    used, total, exactly_compared = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for path, domain in networks(shared):
            for number, (quantizer, bits) in enumerate(CONFIGURATIONS):
                count = check(binary, reference, path, domain, quantizer, bits,
                              lambda size, first=number == 0: size < EXACT_PARAMETERS and (first or size < 20000),
                              os.path.join(folder, "weights"))
                if count is None:
                    break
                total += len(NAMES)
                exactly_compared += count - len(NAMES)
                used += number == 0
    print(f"{used} networks, {total} bounds equal to the reference to 1e-9, {exactly_compared} of them at least their "
          f"exact value")
    return 0 if used >= 40 else "too few fully connected networks were found"


if __name__ == "__main__":
    sys.exit(main())
