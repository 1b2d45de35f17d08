#!/usr/bin/env python3
"""The PyTorch side of reconstruct.py: learned rounding as BRECQ does it (arXiv 2102.05426), on the processor.

  reconstruct_torch.py layer|block DATA --channels 64 --size 56 --samples 64 --batch 32 --threads 1 [--channels-last]

Protocol and data are those of reconstruct_bench.cpp. Soft rounding by autograd, torch.optim.Adam on V, rectified
sigmoid, squared error summed over channels and averaged over the rest, regularizer with beta from 20 to 2; the batch is
gathered from the cached calibration data in every iteration. Constant weights take no gradient, floors of them are made
once: a little less work than the published code does.
"""
import argparse
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

GAMMA, ZETA, ITERATIONS = -0.1, 1.1, 20000


class SoftRounding:
    """4-bit weights per channel, affine over the channel's range, whose rounding is learned."""

    def __init__(self, weight):
        low, high = (f(weight.flatten(1), dim=1).values.view(-1, 1, 1, 1) for f in (torch.min, torch.max))
        self.step = (high - low) / 15
        self.zero = torch.round(-low / self.step)
        self.floor = torch.floor(weight / self.step)
        rest = weight / self.step - self.floor
        self.v = torch.nn.Parameter(-torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1))

    def h(self):
        return torch.clamp(torch.sigmoid(self.v) * (ZETA - GAMMA) + GAMMA, 0, 1)

    def weight(self):
        return (torch.clamp(self.floor + self.h() + self.zero, 0, 15) - self.zero) * self.step


class Training:
    def __init__(self, o):
        count, shape = 2 if o.unit == "block" else 1, (o.samples, o.channels, o.size, o.size)
        data = torch.from_numpy(np.fromfile(o.data, dtype=np.float32))
        sizes = [o.channels * o.channels * 9] * count + [int(np.prod(shape))] * 2
        *weights, targets, inputs = data.split(sizes)
        layout = torch.channels_last if o.channels_last else torch.contiguous_format
        self.rounding = [SoftRounding(w.view(o.channels, o.channels, 3, 3).contiguous(memory_format=layout)) for w in weights]
        self.targets, self.inputs = (t.view(shape).contiguous(memory_format=layout) for t in (targets, inputs))
        self.optimizer = torch.optim.Adam([r.v for r in self.rounding])
        self.options, self.iteration = o, 0

    def forward(self, x):
        out = x
        for i, rounding in enumerate(self.rounding):
            out = F.conv2d(F.relu(out) if i else out, rounding.weight(), torch.zeros(self.options.channels), padding=1)
        return F.relu(out + x if len(self.rounding) == 2 else out)

    def iterate(self):
        o = self.options
        rows = (self.iteration * 7 + torch.arange(o.batch) * 5) % o.samples
        inputs, targets = self.inputs[rows], self.targets[rows]
        self.optimizer.zero_grad()
        error = (self.forward(inputs) - targets).abs().pow(2).sum(1).mean()
        beta = 2 + 18 * (1 - self.iteration / ITERATIONS)
        loss = error
        for rounding in self.rounding:
            loss = loss + 0.01 * (1 - ((rounding.h() - 0.5).abs() * 2).pow(beta)).sum()
        loss.backward()
        self.optimizer.step()
        self.iteration += 1
        return error.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unit", choices=["layer", "block"])
    parser.add_argument("data")
    for name in ("channels", "size", "samples", "batch", "threads"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training = Training(options)
    print("ready", flush=True)
    for line in sys.stdin:
        count, error = int(line), 0.0
        begin = time.perf_counter()
        for _ in range(count):
            error = training.iterate()
        print(f"{(time.perf_counter() - begin) / count:.9f} {error:.9g}", flush=True)


if __name__ == "__main__":
    main()
