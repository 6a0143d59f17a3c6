"""Runs jobs on the labscript suite: runmanager compiles the shots, BLACS runs them, `/measure` has what they measured.

`docs/driver-labscript.md` tells how it is set up. Jobs are checked without the suite, which is imported only to reach
the device.
"""

import keyword
import math
import os
import re
import shutil
import socket
import time
from datetime import datetime

from qspool_driver import ConfigurationError, Driver, DriverError, JobError, Problem, serve

# How often files are looked at, in seconds.
LOOK_S = 0.1

# How often BLACS is looked for while it is waited for, in seconds.
BLACS_LOOK_S = 2.0

# How many shots BLACS has at a time: the one that runs and the next one, so that it never waits. A shot that BLACS has
# cannot be taken back.
AHEAD = 2

# How long `prepare` and `configure` wait for shots of the past, and the latter and `safe_state` for the safe script, in
# seconds. They have 60, 30 and 2 in all.
SETTLE_PREPARE_S = 10.0
SETTLE_CONFIGURE_S = 5.0
COMPILE_CONFIGURE_S = 10.0
SAFE_S = 1.0
SAFE_REQUEST_S = 0.5

# qspool ends a run after twice its length and 10 s; this one ends a little earlier, to say why.
RUN_MARGIN_S = 8.0

DEFAULTS = {
    "num_wires": 1,
    "max_shots": 100,
    "shot_s": 1.0,
    "shot_timeout_s": 30.0,
    "compile_timeout_s": 20.0,
    "request_timeout_s": 3.0,
    "shots_global": "shots",
    "job_global": "job_id",
    "final": ["Experiment.final_action()", "stop(Experiment.t + 0.1)"],
    "safe_script": None,
    "calibration": None,
    "runmanager_host": "localhost",
    "runmanager_port": 42523,
    "blacs_host": "localhost",
    "blacs_port": 42517,
}
REQUIRED = ("header", "output_folder", "gates", "largest_value")

# The longest waits that fit into what qspool allows for the requests they are part of, in seconds.
LONGEST = {"compile_timeout_s": 40.0, "request_timeout_s": 4.0}


class Gate:
    """What an instruction may look like: `wires`, how many it has to name (None: any number), and `params`, the
    smallest and the largest value of each parameter."""

    def __init__(self, name, table):
        good_name = re.fullmatch(r"[a-z][a-z0-9_]*", name, re.ASCII) and not keyword.iskeyword(name)
        if not good_name or name == "final_action":
            raise ConfigurationError(f"gates.{name}: this is no name for a method; use a-z, 0-9 and _")
        unknown = set(table) - {"wires", "params"}
        if unknown:
            raise ConfigurationError(f"gates.{name}: unknown {sorted(unknown)}; there are wires and params")
        self.wires = table.get("wires")
        self.params = table.get("params", [])
        for limits in self.params:
            if len(limits) != 2 or not all(_is_number(limit) for limit in limits):
                raise ConfigurationError(f"gates.{name}: a parameter is [smallest, largest], not {limits}")

    def check(self, name, wires, params, index):
        """Raises a Problem where the instruction is another one."""
        if self.wires is not None and len(wires) != self.wires:
            raise Problem(f"{name} on {len(wires)} wires is not allowed; allowed: {self.wires}", index)
        if len(params) != len(self.params):
            raise Problem(f"{name} with {len(params)} parameters is not allowed; allowed: {len(self.params)}", index)
        for value, (smallest, largest) in zip(params, self.params):
            if not (_is_number(value) and smallest <= value <= largest):
                allowed = f"{smallest} to {largest}"
                raise Problem(f"the parameter {value} of {name} is not allowed; allowed: {allowed}", index)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _literals(values, what):
    """A list of numbers as Python text. Nothing but a number ever becomes a part of a script."""
    for value in values:
        if not _is_number(value):
            raise JobError(f"{what} {value!r} is not a number")
    return "[" + ", ".join(repr(value) for value in values) + "]"


def script_of(header, program, gates, final, failure):
    """The text of the script: the header, one call per instruction, and the lines that end it.

    When a call raises, runmanager shows the reason in its window and tells nobody; so the script writes it to the file
    `failure`, too."""
    calls = []
    for index, (name, wires, params) in enumerate(program.instructions):
        if name not in gates:
            raise JobError(f"instruction {index}: {name!r} is not allowed; allowed: {', '.join(sorted(gates))}")
        calls.append(f"Experiment.{name}({_literals(wires, 'the wire')}, {_literals(params, 'the parameter')})")
    body = "".join(f"    {line}\n" for line in calls + list(final))
    return (
        f"{header}\n\n# The program, written by qspool.\ntry:\n{body}"
        "except Exception as _failure:\n"
        f"    with open({failure!r}, 'w', encoding='utf-8') as _file:\n"
        "        _file.write(f'{type(_failure).__name__}: {_failure}')\n"
        "    raise\n"
    )


def shot_files(folder):
    """The shot files of a run by their run number. runmanager ends their names with it; copies that BLACS makes for a
    repetition are none."""
    found = {}
    for name in os.listdir(folder):
        match = re.fullmatch(r".*_(\d+)\.h5", name, re.ASCII)
        if match:
            found[int(match.group(1))] = os.path.join(folder, name)
    return found


def values_of(nat, count, path):
    """The measured values of one shot, `count` whole numbers, out of the attribute `nat`: a number or several."""
    values = nat.tolist() if hasattr(nat, "tolist") else nat
    values = values if isinstance(values, list) else [values]
    if len(values) != count:
        raise ConfigurationError(f"{path}: nat has {len(values)} values where {count} are measured; mend the header")
    for value in values:
        if not _is_number(value) or value != int(value):
            raise ConfigurationError(f"{path}: nat is {value!r} and has to be a whole number; mend the header")
    return [int(value) for value in values]


class Suite:
    """The programs of the suite, and its files. All imports of the suite are here."""

    def __init__(self, settings):
        self._settings = settings
        self._client = None

    def _runmanager(self, request, *args):
        host, port = self._settings["runmanager_host"], self._settings["runmanager_port"]
        try:
            if self._client is None:
                # Looked at first, since the next import would make a profile of its own, with a secret of its own.
                import labscript_profile

                labconfig = labscript_profile.default_labconfig_path()
                if labconfig is None or not labconfig.exists():
                    raise ConfigurationError(
                        f"there is no {labconfig}: run as the account of the suite, after labscript-profile-create"
                    )
                import runmanager.remote

                self._client = runmanager.remote.Client(host, port, self._settings["request_timeout_s"])
        except ImportError as error:
            raise ConfigurationError(f"this is not the Python of the labscript suite: {error}") from error
        try:
            return getattr(self._client, request)(*args)
        except Exception as error:
            # The suite raises whatever runmanager has raised; the last line is the reason.
            why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise DriverError(f"runmanager at {host}:{port} does not do {request}: {why}") from error

    def hello(self):
        """The version of the runmanager that runs."""
        self._runmanager("say_hello")
        return str(self._runmanager("get_version"))

    def check_globals(self, names):
        """Raises where a global is missing in the active groups, or has an error."""
        active = self._runmanager("get_globals", True)
        for name in names:
            if name not in active:
                raise ConfigurationError(f"no active group of runmanager has the global {name}: add it there")
        self._check_errors()

    def _check_errors(self):
        if self._runmanager("error_in_globals"):
            raise ConfigurationError("runmanager shows an error in its globals: mend it there")

    def compile(self, script, folder, shots, values):
        """Has runmanager compile the script into `shots` files in the folder; returns before it begins."""
        self._runmanager("set_globals", values)
        self._check_errors()
        count = self._runmanager("n_shots")
        if count != shots:
            raise ConfigurationError(
                f"runmanager would make {count} shots of {shots}: no other global of an active group may be a list"
            )
        self._runmanager("set_labscript_file", script)
        self._runmanager("set_shot_output_folder", folder)
        # They are handed to BLACS from here, a few at a time: it takes none back.
        ticked = self._runmanager("get_run_shots")
        self._runmanager("set_run_shots", False)
        try:
            self._runmanager("engage")
        finally:
            self._runmanager("set_run_shots", ticked)

    def submit(self, path, timeout_s):
        """Puts a compiled shot at the end of the queue of BLACS, and returns the error with which BLACS refuses it."""
        from labscript_utils.ls_zprocess import zmq_get
        from labscript_utils.shared_drive import path_to_agnostic

        host, port = self._settings["blacs_host"], self._settings["blacs_port"]
        try:
            reply = zmq_get(port, host, data=path_to_agnostic(path), timeout=timeout_s)
        except Exception as error:
            raise DriverError(f"BLACS at {host}:{port} does not take {path}: {error}") from error
        if "added successfully" in reply:
            return None
        why = " ".join(reply.split())
        if "not a subset" in reply:
            return ConfigurationError(f"BLACS refuses {path}; the header has to fit its connection table: {why}")
        return DriverError(f"BLACS does not take {path}: {why}")

    def check_blacs(self):
        """Raises where nobody listens on the port of BLACS."""
        address = self._settings["blacs_host"], self._settings["blacs_port"]
        try:
            socket.create_connection(address, timeout=1.0).close()
        except OSError as error:
            raise DriverError(f"BLACS at {address[0]}:{address[1]} cannot be reached ({error}): start it") from error

    def look(self, path):
        """What a shot file has: whether it is compiled, whether it has run, and the attribute `nat` or None; None
        where it cannot be read now, because it is not there or in use."""
        # In this order: the suite's lock is put around h5py.
        import labscript_utils.h5_lock  # noqa: F401
        import h5py

        if not os.path.exists(path):
            return None
        try:
            with h5py.File(path, "r") as file:
                nat = file["measure"].attrs.get("nat") if "measure" in file else None
                return "shot_properties" in file, "run time" in file.attrs, nat
        except OSError:
            return None


class Run:
    """The files of one program: a folder of its own, with the script, and one file per shot."""

    def __init__(self, output_folder, kind, shots, values=0):
        self.name = datetime.now().strftime(f"{kind}-%Y%m%dT%H%M%S-%f")
        self.folder = os.path.join(output_folder, self.name)
        os.mkdir(self.folder)
        self.script = os.path.join(self.folder, "qspool.py")
        self.failure = os.path.join(self.folder, "failure.txt")
        self.shots = shots
        # How many numbers each shot measures.
        self.values = values
        self.length_s = 0.0

    def path(self, number):
        """The file of a shot; where runmanager has not made it yet, words for it."""
        return shot_files(self.folder).get(number, os.path.join(self.folder, f"the file of shot {number}"))

    def end_compiling(self):
        """Ends what runmanager may still compile: without its script it cannot, and stops. Its own abort, when it comes
        just after the last shot was compiled, would be kept for the next program."""
        if os.path.exists(self.script):
            os.replace(self.script, self.script + ".ended")

    def check_failure(self):
        """Raises where the script has raised; the first line of the reason is for the user."""
        if os.path.exists(self.failure):
            with open(self.failure, encoding="utf-8") as file:
                why = file.readline().strip()
            # It is there a moment before its text.
            if why:
                raise JobError(f"the experiment cannot be compiled: {why[:300]}")


class Labscript(Driver):
    """The labscript suite as a device."""

    def __init__(self, settings, suite=None):
        unknown = sorted(set(settings) - set(DEFAULTS) - set(REQUIRED))
        missing = [name for name in REQUIRED if name not in settings]
        if unknown or missing:
            allowed = ", ".join(REQUIRED + tuple(DEFAULTS))
            raise ConfigurationError(f"settings: unknown {unknown}, missing {missing}; there are: {allowed}")
        super().__init__({**DEFAULTS, **settings})
        for name, longest in LONGEST.items():
            if not 0 < self.settings[name] <= longest:
                raise ConfigurationError(f"settings.{name}: {self.settings[name]} is not above 0 and at most {longest}")
        self.gates = {name: Gate(name, table) for name, table in settings["gates"].items()}
        self._suite = suite or Suite(self.settings)
        self._run = None
        self._safe = None
        # The shots that BLACS has and that were not seen to have run.
        self._handed = []

    def capabilities(self):
        can = {
            "instructions": sorted(self.gates),
            "num_wires": self.settings["num_wires"],
            "max_shots": self.settings["max_shots"],
            "largest_value": self.settings["largest_value"],
            # A shot that runs in BLACS cannot be stopped from outside.
            "stop": "after_shot",
        }
        if self.settings["calibration"] is not None:
            can["calibration"] = self.settings["calibration"]
        return can

    def validate(self, program):
        for index, (name, wires, params) in enumerate(program.instructions):
            if name not in self.gates:
                raise Problem(f"{name} is not known; there are: {', '.join(sorted(self.gates))}", index)
            self.gates[name].check(name, wires, params, index)
        if not program.measured():
            raise Problem("nothing is measured; a program has at least one measure")

    def identify(self):
        return {"vendor": "labscript", "model": "labscript suite", "firmware": self._suite.hello()}

    def configure(self):
        self._abandon()
        folder = self.settings["output_folder"]
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise ConfigurationError(f"output_folder {folder} is not there, or cannot be written to")
        self._text("header")
        self._suite.check_globals([self.settings["shots_global"], self.settings["job_global"]])
        try:
            self._suite.check_blacs()
        except DriverError:
            # The next one begins with an empty queue.
            self._handed.clear()
            raise
        self._settle(SETTLE_CONFIGURE_S)
        self._prepare_safe()

    def _text(self, setting):
        """The Python text of the file that the setting names; read each time, since it may have been mended."""
        path = self.settings[setting]
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            compile(text, path, "exec")
        except (OSError, SyntaxError, ValueError) as error:
            raise ConfigurationError(f"{setting} {path}: {error}") from error
        return text

    def _settle(self, seconds):
        """Waits until BLACS has run all it was given: a stopped run may have left two shots."""
        end = time.monotonic() + seconds
        while self._unfinished():
            if time.monotonic() > end:
                raise DriverError(
                    f"BLACS has not run {self._handed[0]} yet: start its queue; or take the shot out of its queue, if "
                    "it is still there, and then delete the file"
                )
            time.sleep(LOOK_S)

    def _unfinished(self):
        def is_over(path):
            shot = self._suite.look(path)
            return shot is not None and shot[1] or not os.path.exists(path)

        self._handed = [path for path in self._handed if not is_over(path)]
        return self._handed

    def _submit(self, path, timeout_s):
        # Where BLACS does not answer in time, it may have the shot all the same.
        self._handed.append(path)
        refusal = self._suite.submit(path, timeout_s)
        if refusal is not None:
            self._handed.remove(path)
            raise refusal

    def _compile(self, run, text, seconds):
        """Has a run compiled, and waits for its first shot for so long."""
        with open(run.script, "w", encoding="utf-8") as file:
            file.write(text)
        values = {self.settings["shots_global"]: list(range(run.shots)), self.settings["job_global"]: run.name}
        self._suite.compile(run.script, run.folder, run.shots, values)
        end = time.monotonic() + seconds
        while not self._is_compiled(run, 0):
            if time.monotonic() > end:
                run.end_compiling()
                what = f"runmanager has not compiled {run.path(0)} within {seconds} s; its window tells why"
                raise DriverError(what)
            time.sleep(LOOK_S)

    def _is_compiled(self, run, number):
        run.check_failure()
        path = shot_files(run.folder).get(number)
        shot = path and self._suite.look(path)
        return bool(shot and shot[0])

    def prepare(self, program):
        self._abandon()
        self._settle(SETTLE_PREPARE_S)
        self._run = run = Run(self.settings["output_folder"], "run", program.shots, len(program.measured()))
        text = script_of(self._text("header"), program, self.gates, self.settings["final"], run.failure)
        self._compile(run, text, self.settings["compile_timeout_s"])
        # Room for one shot that comes late.
        run.length_s = self.settings["shot_s"] * run.shots + self.settings["shot_timeout_s"] / 2
        return self.settings["shot_s"], run.length_s

    def run(self, shots, stop):
        run = self._run
        end = time.monotonic() + 2 * run.length_s + RUN_MARGIN_S
        handed = done = 0
        try:
            progress = looked = time.monotonic()
            while done < shots:
                if stop.is_now() or stop.is_after_shot() and handed == done:
                    return
                while not stop.is_after_shot() and handed < min(shots, done + AHEAD) and self._is_compiled(run, handed):
                    self._submit(run.path(handed), self.settings["request_timeout_s"])
                    handed += 1
                values = self._measured(run, done) if done < handed else None
                now = time.monotonic()
                if values is not None:
                    done += 1
                    progress = now
                    yield values
                    continue
                if now > min(end, progress + self.settings["shot_timeout_s"]):
                    raise self._overdue(run, done)
                if now > looked + BLACS_LOOK_S:
                    self._suite.check_blacs()
                    looked = now
                stop.wait(LOOK_S)
        finally:
            if done < shots:
                run.end_compiling()
            self._run = None

    def _measured(self, run, number):
        """The values of a shot that has run and was measured; both are written at its end, one after the other."""
        path = run.path(number)
        shot = self._suite.look(path)
        if shot is None or not shot[1] or shot[2] is None:
            return None
        self._handed = [other for other in self._handed if other != path]
        return values_of(shot[2], run.values, path)

    def _overdue(self, run, number):
        path = run.path(number)
        shot = self._suite.look(path)
        if shot is None:
            what = "is not there, or cannot be read"
        elif not shot[0]:
            what = "was not compiled: the window of runmanager tells why"
        elif not shot[1]:
            what = "was not run by BLACS: it may be paused, or a device of it has an error"
        else:
            what = "has run, and has no attribute nat in /measure: the header has to write it"
        return DriverError(f"shot {number} of {run.shots} is missing: {path} {what}")

    def _abandon(self):
        if self._run is not None:
            self._run.end_compiling()
            self._run = None

    def _prepare_safe(self):
        """Compiles the safe script, once, and runs it."""
        if self.settings["safe_script"] is None:
            return
        if self._safe is None:
            run = Run(self.settings["output_folder"], "safe", 1)
            seconds = min(COMPILE_CONFIGURE_S, self.settings["compile_timeout_s"])
            self._compile(run, self._text("safe_script"), seconds)
            self._safe = run
        # In every configure: it ends in the safe state.
        self._run_safe(SETTLE_CONFIGURE_S, self.settings["request_timeout_s"])
        if self._handed:
            raise DriverError(f"BLACS has not run the safe script, {self._handed[0]}: it may be paused")

    def _run_safe(self, seconds, request_timeout_s):
        """Hands a copy of the compiled safe script to BLACS, which runs no file twice, and waits for it."""
        copy = os.path.join(self._safe.folder, datetime.now().strftime("safe-%Y%m%dT%H%M%S-%f.h5"))
        shutil.copyfile(self._safe.path(0), copy)
        self._submit(copy, request_timeout_s)
        end = time.monotonic() + seconds
        while self._unfinished() and time.monotonic() < end:
            time.sleep(LOOK_S)

    def safe_state(self):
        self._abandon()
        if self.settings["safe_script"] is None:
            said = ["no safe_script is configured: the outputs stay as the last shot leaves them"]
            waiting = self._unfinished() if self._handed else []
        elif self._safe is None:
            return ["the safe script was not compiled yet: configure does it, and runs it"]
        else:
            self._run_safe(SAFE_S, SAFE_REQUEST_S)
            waiting = self._handed
            said = [] if waiting else ["the safe script has run"]
        return said + [f"BLACS has still to run {path}" for path in waiting]

    def health(self):
        self._suite.check_blacs()
        if self._handed and self._unfinished():
            return f"BLACS has still to run {self._handed[0]}"
        return None


if __name__ == "__main__":
    serve(Labscript)
