"""The tasks of `benches/simulator.rs` on the Python stack, at its own largest sizes, without storage.

    pip install sqooler==0.9.0 scipy && python reference.py CHECKOUT [TASK ...]

CHECKOUT is a folder of sqooler-example, with the folders `fermions`, `multiqudit`, `rydberg` and `singlequdit` in it; it is
not on PyPI. One line for each task: the best of several calls of a circuit in ms, with the operators that it builds. `f` is
a job of 20 experiments with validation, in ms for each of them. `a1` takes minutes.
"""

import importlib
import random
import sys
import time
from math import tau

ALL = {"fermions": 8, "rydberg": 5, "singlequdit": 1, "multiqudit": 3}
PATIENCE_S = 20


def experiment(backend, instructions, shots=1):
    wires = ALL[backend]
    measures = [["measure", [wire], []] for wire in range(wires)]
    order = "interleaved" if backend == "fermions" else "sequential"
    return {"instructions": instructions + measures, "num_wires": wires, "shots": shots, "wire_order": order}


def best_ms(run):
    best, spent, runs = float("inf"), 0.0, 0
    while runs < 2 or (spent < 2.0 and runs < 100):
        begin = time.perf_counter()
        run()
        once = time.perf_counter() - begin
        best, spent, runs = min(best, once), spent + once, runs + 1
        if spent > PATIENCE_S:
            break
    return best * 1e3


class Gates:
    """Random gates from a fixed seed."""

    def __init__(self):
        self.random = random.Random(1)

    def angle(self):
        return self.random.uniform(0, tau)

    def local(self, count, wires, names):
        return [[self.random.choice(names), [self.random.randrange(wires)], [self.angle()]] for _ in range(count)]

    def pairs(self, count, wires):
        pairs = []
        for number in range(count):
            wire = self.random.randrange(wires - 1)
            pairs.append([["rlxly", "rlzlz"][number % 2], [wire, wire + 1], [self.angle()]])
        return pairs

    def hop(self):
        first = 2 * self.random.randrange(3)
        return ["fhop", [first, first + 1, first + 2, first + 3], [self.angle()]]


def single_tasks():
    gates = Gates()
    spin = [["load", [0], [500]]]
    spins = [["load", [wire], [15]] for wire in range(3)]
    half = [["load", [mode], []] for mode in (0, 1, 4, 5)]
    rounds = []
    for _ in range(5):
        rounds += [gates.hop() for _ in range(10)]
        rounds += [["fint", list(range(8)), [gates.angle()]], ["fphase", [0, 1], [gates.angle()]]]
    return {
        "a1": ("singlequdit", spin + gates.local(100, 1, ["rlx", "rlz", "rlz2"])),
        "a2": ("singlequdit", spin + [["sq_full", [0], [1, 1, 1]]]),
        "b1": ("multiqudit", spins + gates.local(20, 3, ["rlx", "rlz", "rlz2"]) + gates.pairs(10, 3)),
        "b2": ("multiqudit", spins + [["multiqudit_full", [0, 1, 2], [1.0, 0.5, 0.1, 0.02, 0.05]]]),
        "c": ("fermions", half + rounds),
        "d1": ("rydberg", [["rydberg_full", list(range(5)), [tau, 1, 10]]]),
        "d2": ("rydberg", gates.local(100, 5, ["rlx", "rlz"])),
    }


def twenty_gates(backend):
    gates = Gates()

    def gate(number):
        if backend == "fermions":
            return ["fint", list(range(8)), [gates.angle()]] if number % 3 == 0 else gates.hop()
        if number % 3 == 0:
            name = "rydberg_full" if backend == "rydberg" else "sq_full"
            return [name, list(range(ALL[backend])), [gates.angle() for _ in range(3)]]
        return gates.local(1, ALL[backend], [["rlx", "rlz"][number % 3 - 1]])[0]

    loads = {"fermions": [["load", [mode], []] for mode in (0, 1, 4, 5)], "singlequdit": [["load", [0], [50]]]}
    return loads.get(backend, []) + [gate(number) for number in range(20)]


def main(checkout, names):
    sys.path.insert(0, checkout)
    from sqooler.spoolers import Spooler

    parse = Spooler({}, None, 8).get_exp_input_dict
    tasks = single_tasks()
    for name in names or [*(task for task in tasks if task != "a1"), "f"]:
        if name == "f":
            for backend in ("fermions", "rydberg", "singlequdit"):
                spooler = importlib.import_module(f"{backend}.config").spooler_object
                spooler.display_name = backend
                job = {f"experiment_{n}": experiment(backend, twenty_gates(backend), 1000) for n in range(20)}
                once = best_ms(lambda: spooler.add_job(job, "0" * 24))
                print(f"f    {backend:12} {once / len(job):12.3f} ms for each experiment", flush=True)
            continue
        backend, instructions = tasks[name]
        circuit = importlib.import_module(f"{backend}.spooler").gen_circuit
        given = parse(experiment(backend, instructions))
        print(f"{name:4} {backend:12} {best_ms(lambda: circuit('experiment_0', given)):12.3f} ms", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
