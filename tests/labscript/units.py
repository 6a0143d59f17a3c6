"""The driver of the labscript suite without the suite: what it writes, what it refuses, and how long it waits."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "drivers", "exec", "python"))

import labscript_driver
from labscript_driver import Labscript, script_of, shot_files, values_of
from qspool_driver import ConfigurationError, DriverError, JobError, Problem, Program, Stop

GATES = {"load": {"wires": 1, "params": [[1, 500]]}, "measure": {"wires": 1}}
MEASURE = ["measure", [0], []]


def program(instructions, shots=1):
    return Program({"instructions": instructions, "num_wires": 1, "shots": shots, "wire_order": "sequential"})


class FakeSuite:
    """A suite whose BLACS runs each shot at once, with its number as what was measured; but for those of `stuck`."""

    def __init__(self, stuck=()):
        self.stuck = stuck
        self.made = {}
        self.submitted = []

    def hello(self):
        return "3.3.0"

    def check_globals(self, names):
        pass

    def check_blacs(self):
        pass

    def compile(self, script, folder, shots, values):
        assert values["shots"] == list(range(shots)) and os.path.dirname(script) == folder
        # The names of files sort otherwise than their numbers.
        for number in range(shots):
            path = os.path.join(folder, f"x_{number}.h5")
            open(path, "w").close()
            self.made[path] = number

    def submit(self, path, timeout_s):
        self.submitted.append(os.path.basename(path))

    def look(self, path):
        if path not in self.made:
            return None
        has_run = os.path.basename(path) in self.submitted and self.made[path] not in self.stuck
        return True, has_run, self.made[path] if has_run else None


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.header = os.path.join(self.folder.name, "header.py")
        with open(self.header, "w") as file:
            file.write("Experiment = None\n")

    def driver(self, suite=None, **more):
        settings = {"header": self.header, "output_folder": self.folder.name, "gates": GATES, "largest_value": 500}
        return Labscript({**settings, **more}, suite)

    def refusal(self, kind, call):
        with self.assertRaises(kind) as raised:
            call()
        return str(raised.exception)

    def test_nothing_but_allowed_names_and_finite_numbers_gets_into_a_script(self):
        def text(*instruction):
            return script_of("# header", program([list(instruction)]), GATES, ["stop(1)"], "/folder/it's")

        script = text("load", [0], [20.5])
        self.assertIn("    Experiment.load([0], [20.5])\n    stop(1)\n", script)
        compile(script, "script", "exec")
        for name in ("exit", "__init__", "load([0], [1])\nimport os\n#", "final_action", ""):
            self.assertIn("is not allowed", self.refusal(JobError, lambda: text(name, [0], [])))
        for value in (float("nan"), float("inf"), "1", "1], [__import__('os')", None, True, [1.0]):
            self.assertIn("is not a number", self.refusal(JobError, lambda: text("load", [0], [value])))
            self.assertIn("is not a number", self.refusal(JobError, lambda: text("load", [value], [1.0])))

    def test_a_gate_is_a_name_for_a_method(self):
        for name in ("", "_load", "final_action", "class", "Load", "load()", "l\u00f6se", "load\n"):
            self.assertIn("no name", self.refusal(ConfigurationError, lambda: self.driver(gates={name: {}})))
        limits = {"load": {"params": [[1]]}}
        self.assertIn("smallest", self.refusal(ConfigurationError, lambda: self.driver(gates=limits)))
        self.assertIn("wire", self.refusal(ConfigurationError, lambda: self.driver(gates={"load": {"wire": 1}})))

    def test_settings_are_known_and_complete(self):
        self.assertIn("unknown ['foldr']", self.refusal(ConfigurationError, lambda: self.driver(foldr="")))
        self.assertIn("missing ['header'", self.refusal(ConfigurationError, lambda: Labscript({})))
        self.assertIn("compile_timeout_s", self.refusal(ConfigurationError, lambda: self.driver(compile_timeout_s=90)))

    def test_a_program_is_checked_without_the_suite(self):
        driver = self.driver()
        self.assertEqual(driver.capabilities()["instructions"], ["load", "measure"])
        self.assertEqual(driver.capabilities()["stop"], "after_shot")
        driver.validate(program([["load", [0], [500.0]], MEASURE]))
        for bad, what in (
            (["load", [0], [501.0]], "501.0"),
            (["load", [0], [float("nan")]], "nan"),
            (["load", [0], []], "0 parameters"),
            (["load", [0, 0], [1.0]], "2 wires"),
            (["fire", [0], []], "fire"),
        ):
            self.assertIn(what, self.refusal(Problem, lambda: driver.validate(program([MEASURE, bad]))))
        self.assertIn("measure", self.refusal(Problem, lambda: driver.validate(program([["load", [0], [1.0]]]))))

    def test_shots_are_told_by_their_run_number(self):
        for name in ("x_9.h5", "x_10.h5", "x_2.h5", "x_2_rep00001.h5", "x_2.txt", "failure.txt"):
            open(os.path.join(self.folder.name, name), "w").close()
        found = shot_files(self.folder.name)
        self.assertEqual([os.path.basename(found[number]) for number in sorted(found)], ["x_2.h5", "x_9.h5", "x_10.h5"])

    def test_nat_is_one_whole_number_per_measured_wire(self):
        self.assertEqual(values_of(7.0, 1, "x"), [7])
        self.assertEqual(values_of([7, 8], 2, "x"), [7, 8])
        for nat, count in ((7, 2), ([7, 8], 1), (7.5, 1), (float("nan"), 1), ("7", 1)):
            self.refusal(ConfigurationError, lambda: values_of(nat, count, "x"))

    def test_shots_come_in_order_and_blacs_has_two_at_most(self):
        suite = FakeSuite()
        driver = self.driver(suite)
        driver.configure()
        driver.prepare(program([MEASURE], 12))
        for number, values in enumerate(driver.run(12, Stop())):
            self.assertEqual(values, [number])
            self.assertLessEqual(len(suite.submitted), number + labscript_driver.AHEAD)
        self.assertEqual(number, 11)

    def test_a_missing_shot_is_an_error_with_its_file_and_holds_what_comes_next(self):
        suite = FakeSuite(stuck=[2])
        driver = self.driver(suite, shot_timeout_s=0.3)
        driver.prepare(program([MEASURE], 4))
        values = []
        what = self.refusal(DriverError, lambda: values.extend(driver.run(4, Stop())))
        self.assertEqual(values, [[0], [1]])
        self.assertIn("x_2.h5 was not run by BLACS", what)
        self.assertIn("x_2.h5", driver.health())
        self.assertIn("x_2.h5", driver.safe_state()[1])
        labscript_driver.SETTLE_CONFIGURE_S = 0.2
        self.assertIn("x_2.h5 yet", self.refusal(DriverError, driver.configure))
        suite.stuck = ()
        driver.configure()
        self.assertIsNone(driver.health())

    def test_a_stopped_run_hands_over_no_more_shots_and_ends_the_compiling(self):
        suite = FakeSuite()
        driver = self.driver(suite)
        driver.prepare(program([MEASURE], 9))
        stop, values = Stop(), []
        for shot in driver.run(9, stop):
            values.append(shot)
            stop._after_shot.set()
        self.assertEqual(values, [[0], [1]])
        self.assertEqual(len(suite.submitted), 2)
        (run,) = [name for name in os.listdir(self.folder.name) if name.startswith("run-")]
        self.assertNotIn("qspool.py", os.listdir(os.path.join(self.folder.name, run)))

    def test_what_the_script_raises_ends_the_job(self):
        suite = FakeSuite()
        suite.compile = lambda script, folder, shots, values: self.fail_in(folder)
        driver = self.driver(suite)
        self.assertIn("the laser is off", self.refusal(JobError, lambda: driver.prepare(program([MEASURE]))))

    def fail_in(self, folder):
        with open(os.path.join(folder, "failure.txt"), "w") as file:
            file.write("ValueError: the laser is off")

    def test_a_runmanager_that_does_not_compile_is_waited_for_so_long(self):
        suite = FakeSuite()
        suite.compile = lambda *_: None
        driver = self.driver(suite, compile_timeout_s=0.2)
        what = self.refusal(DriverError, lambda: driver.prepare(program([MEASURE])))
        self.assertIn("has not compiled", what)


if __name__ == "__main__":
    unittest.main()
