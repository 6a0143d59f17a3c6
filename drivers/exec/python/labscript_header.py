"""The header of a script for `labscript_driver.py`: the devices, and what each instruction of a job does with them.

Copy it, and put your own devices and gates into it. qspool appends one call per instruction, such as
`Experiment.load([0], [20.0])`, then `Experiment.final_action()` and `stop(Experiment.t + 0.1)`. The script is compiled
once per shot; `shots` is the number of the shot, counted from 0, and `job_id` names the run.
"""

from labscript import start, stop
from labscript_devices.DummyPseudoclock.labscript_devices import DummyPseudoclock
from labscript_devices.FunctionRunner.labscript_devices import FunctionRunner

# They have to be in the connection table of BLACS.
DummyPseudoclock(name="pseudoclock")
FunctionRunner(name="function_runner")


def save(shot_context, t, atoms):
    """Writes what was measured, after the shot. BLACS runs it elsewhere, so that it has to import what it needs."""
    import labscript_utils.h5_lock
    import h5py

    with h5py.File(shot_context.h5_file, "r+") as file:
        file.require_group("measure").attrs["nat"] = atoms


class ExperimentClass:
    """One method per instruction. `t` is the time at which the next one begins, in seconds."""

    def __init__(self):
        self.t = 0.0
        self.atoms = 0

    def load(self, wires, params):
        """Loads `params[0]` atoms."""
        self.atoms = int(params[0])
        self.t += 0.1

    def measure(self, wires, params):
        """Counts the atoms. A real one reads a camera in `save`. Called once per measured wire; `nat` is one number, or
        a list of as many numbers as wires are measured."""
        function_runner.add_function("stop", save, self.atoms)

    def final_action(self):
        """Ends every program."""


Experiment = ExperimentClass()
start()
