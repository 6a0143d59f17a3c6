"""The tasks of `benches/simulator.rs` on other programs, each in the fastest way that it offers at double precision.

    python -m venv peers && peers/bin/pip install -r requirements.txt && peers/bin/python tasks.py [TASK ...]

One line for each task, size and program: the best of several runs in ms, without building operators where they can be
kept. OMP_NUM_THREADS=1 for one core.
"""

import sys
import time
from math import pi

import numpy as np
from scipy.linalg import eigh_tridiagonal, expm
from scipy.sparse import diags, identity, kron
from scipy.sparse.linalg import expm_multiply

PATIENCE_S = 20


def measure(task, size, program, run):
    """Prints the best time of `run`, and an amplitude by which results can be compared."""
    best, spent, state = float("inf"), 0.0, None
    while spent < 2.0:
        begin = time.perf_counter()
        state = run()
        once = time.perf_counter() - begin
        best, spent = min(best, once), spent + once
        if spent > PATIENCE_S:
            break
    state = np.asarray(state).ravel()
    print(f"{task:4} {size:>10} {program:32} {best * 1e3:12.3f} ms   {state[len(state) // 3]:.12e}", flush=True)
    return best


def spin(atoms):
    """Lx, Lz of a spin of length atoms/2, level 0 on top."""
    k = np.arange(atoms)
    beside = 0.5 * np.sqrt((k + 1) * (atoms - k))
    return beside, atoms / 2 - np.arange(atoms + 1)


def one_spin(_):
    atoms = 500
    beside, m = spin(atoms)
    values, vectors = eigh_tridiagonal(np.zeros(atoms + 1), beside)
    rng = np.random.default_rng(1)
    gates = [(rng.choice(["rlx", "rlz", "rlz2"]), rng.uniform(0, 2 * pi)) for _ in range(100)]

    def by_eigenvectors():
        psi = np.zeros(atoms + 1, complex)
        psi[0] = 1
        for name, angle in gates:
            if name == "rlx":
                psi = vectors @ (np.exp(-1j * angle * values) * (vectors.T @ psi))
            else:
                psi = psi * np.exp(-1j * angle * (m if name == "rlz" else m * m))
        return psi

    measure("a1", atoms, "numpy, eigenvectors kept", by_eigenvectors)
    for params in [(1, 1, 1), (100, 100, 100), (1e6, 1e6, 1e4)]:
        omega, delta, chi = params

        def full():
            energies, basis = eigh_tridiagonal(delta * m + chi * m * m, omega * beside)
            return basis @ (np.exp(-1j * energies) * basis[0])

        measure("a2", str(params).replace(" ", ""), "scipy eigh_tridiagonal (LAPACK)", full)


def chain(operators, wires):
    """Sum over the wires of an operator on one or two neighbours, as a sparse matrix."""
    dim, span = operators[0].shape[0], len(operators)
    total = None
    for wire in range(wires - span + 1):
        left, right = identity(dim**wire), identity(dim ** (wires - wire - span))
        middle = operators[0]
        for operator in operators[1:]:
            middle = kron(middle, operator)
        term = kron(kron(left, middle), right, format="csr")
        total = term if total is None else total + term
    return total


def gates_of_spins(wires, beside, m):
    """30 gates on spins of 15 atoms, as matrices on one or two of them."""
    rng = np.random.default_rng(1)
    lx = np.diag(beside, 1) + np.diag(beside, -1)
    exchange = np.kron(np.diag(2 * beside, 1), np.diag(2 * beside, -1))
    gates = []
    for count in range(30):
        angle = rng.uniform(0, 2 * pi)
        if count < 20:
            wire, kind = rng.integers(wires), rng.integers(3)
            gate = expm(-1j * angle * lx) if kind == 0 else np.exp(-1j * angle * m**kind)
            gates.append((wire, 16, gate))
        else:
            energies = np.exp(-1j * angle * np.outer(m, m).ravel())
            gate = expm(-1j * angle * (exchange + exchange.T)) if count % 2 == 0 else energies
            gates.append((rng.integers(wires - 1), 256, gate))
    start = np.zeros(16**wires, complex)
    start[0] = 1

    def run():
        psi = start
        for wire, dim, gate in gates:
            psi = psi.reshape(16**wire, dim, -1)
            if gate.ndim == 1:
                psi = gate[:, None] * psi
            elif psi.shape[2] > 1:
                psi = gate @ psi
            else:
                psi = psi.reshape(-1, dim) @ gate.T
        return psi

    return run


def several_spins(_):
    import qutip

    beside, m = spin(15)
    lx = diags([beside, beside], [1, -1])
    lz = diags(m)
    up = diags(2 * beside, 1)
    for wires in (3, 4):
        measure("b1", wires, "numpy, matrices of gates kept", gates_of_spins(wires, beside, m))
        hop = chain([up, up.T], wires)
        h = chain([lx], wires) + 0.5 * chain([lz], wires) + 0.1 * chain([lz @ lz], wires)
        h = (h + 0.02 * (hop + hop.T) + 0.05 * chain([lz, lz], wires)).tocsr()
        rng = np.random.default_rng(1)
        psi = rng.normal(size=16**wires) + 1j * rng.normal(size=16**wires)
        psi /= np.linalg.norm(psi)
        measure("b2", wires, "scipy expm_multiply", lambda: expm_multiply(-1j * h, psi))
        expm_parallel("b2", wires, h, psi)
        operator = qutip.Qobj(h)
        options = {"atol": 1e-11, "rtol": 1e-11, "nsteps": 10**6, "progress_bar": ""}
        state = qutip.Qobj(psi)
        measure("b2", wires, "qutip sesolve", lambda: qutip.sesolve(operator, state, [0, 1], options=options).states[-1].full())


def expm_parallel(task, size, h, psi):
    from quspin.tools.evolution import expm_multiply_parallel

    work = np.zeros((2 * psi.shape[0],), complex)
    expo = expm_multiply_parallel(h, a=-1j, dtype=np.complex128)
    measure(task, size, "quspin expm_multiply_parallel", lambda: expo.dot(psi, work_array=work, overwrite_v=False))


def rydberg(_):
    for wires in (5, 10, 16, 20):
        x = diags([[0.5], [0.5]], [1, -1], shape=(2, 2))
        z = diags([0.5, -0.5])
        occupied = (np.arange(2**wires)[:, None] >> np.arange(wires)[::-1]) & 1
        energies = sum(
            occupied[:, i] * occupied[:, j] / (j - i) ** 6 for j in range(wires) for i in range(j)
        ) * 10.0
        del occupied
        h = (2 * pi * chain([x], wires) + chain([z], wires) + diags(np.asarray(energies, float))).tocsr()
        psi = np.zeros(2**wires, complex)
        psi[0] = 1
        if wires <= 10:
            import qutip

            dense = h.toarray()
            measure("d1", wires, "scipy expm, dense", lambda: expm(-1j * dense)[:, 0])
            operator, state = qutip.Qobj(h), qutip.Qobj(psi)
            options = {"atol": 1e-11, "rtol": 1e-11, "nsteps": 10**6, "progress_bar": ""}
            measure("d1", wires, "qutip sesolve", lambda: qutip.sesolve(operator, state, [0, 1], options=options).states[-1].full())
        measure("d1", wires, "scipy expm_multiply", lambda: expm_multiply(-1j * h, psi))
        expm_parallel("d1", wires, h, psi)


def qubits(_):
    from qiskit import QuantumCircuit, transpile
    from qiskit_aer import AerSimulator

    rng = np.random.default_rng(1)
    for wires in (5, 10, 16, 20):
        circuit = QuantumCircuit(wires)
        for _ in range(100):
            gate = circuit.rx if rng.random() < 0.5 else circuit.rz
            gate(rng.uniform(0, 2 * pi), int(rng.integers(wires)))
        circuit.save_statevector()
        simulator = AerSimulator(method="statevector", precision="double")
        compiled = transpile(circuit, simulator, optimization_level=0)
        # Its own clock: without the way of the circuit into the simulator.
        best = min(simulator.run(compiled).result().results[0].time_taken for _ in range(5))
        print(f"{'d2':4} {wires:>10} {'qiskit-aer, its own clock':32} {best * 1e3:12.3f} ms", flush=True)


def fermions(_):
    import ffsim

    for modes in (8, 16, 20, 24):
        orbitals = modes // 2
        nelec = (orbitals // 2, orbitals // 2)
        rng = np.random.default_rng(1)
        start = ffsim.hartree_fock_state(orbitals, nelec).astype(complex)

        def run():
            psi = start
            for _ in range(5):
                for _ in range(10):
                    site = int(rng.integers(orbitals - 1))
                    psi = ffsim.apply_tunneling_interaction(
                        psi, -rng.uniform(0, 2 * pi), (site, site + 1), orbitals, nelec, copy=False
                    )
                for site in range(orbitals):
                    psi = ffsim.apply_on_site_interaction(psi, -0.3, site, orbitals, nelec, copy=False)
                psi = ffsim.apply_num_interaction(psi, -0.3, 0, orbitals, nelec, copy=False)
            return psi

        measure("c", modes, "ffsim", run)


def hubbard(_):
    import ffsim

    for modes in (8, 16, 20, 24):
        sites = modes // 2
        nelec = (sites // 2, sites // 2)
        terms = ffsim.fermi_hubbard_1d(sites, tunneling=1.0, interaction=4.0, chemical_potential=-0.5)
        generator = -1j * ffsim.linear_operator(terms, norb=sites, nelec=nelec)
        start = ffsim.hartree_fock_state(sites, nelec).astype(complex)
        measure("h", modes, "ffsim, scipy expm_multiply", lambda: expm_multiply(generator, start, traceA=0))


def shots(_):
    for wires in (16, 20):
        rng = np.random.RandomState(1)
        p = rng.random_sample(2**wires)
        p /= p.sum()
        measure("e", wires, "numpy.random.choice", lambda: np.random.choice(2**wires, p=p, size=10**6))


TASKS = {"a": one_spin, "b": several_spins, "c": fermions, "h": hubbard, "d1": rydberg, "d2": qubits, "e": shots}

if __name__ == "__main__":
    for name in sys.argv[1:] or TASKS:
        try:
            TASKS[name](name)
        except Exception as error:  # one program that is missing keeps no other from being measured
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
