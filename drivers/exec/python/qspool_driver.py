"""Makes a driver of qspool out of a Python class. One file, Python 3.8 or newer, nothing else needed.

Write a class with the methods of `Driver`, and end the program with

    if __name__ == "__main__":
        serve(MyDriver)

Whatever is printed goes to the log of qspool. `protocol.md` tells what is said behind this.
"""

import json
import os
import queue
import sys
import threading
import time
import traceback

PROTOCOL = 1

# How long a run may go on after qspool has gone, before the process ends in the middle of it.
LAST_WORDS_S = 2.0

# How many shots, and for how long, are kept back to be handed over together.
BATCH_SHOTS = 1000
BATCH_S = 0.1


class DriverError(Exception):
    """The device is away, or does not work: its job waits, and the device is looked for again."""

    kind = "device"


class JobError(DriverError):
    """The job is bad: it ends with this text, and the next one is run."""

    kind = "job"


class RetryError(DriverError):
    """The same job may work when it is tried again."""

    kind = "retry"


class ConfigurationError(DriverError):
    """The settings or the device itself are the wrong ones: a person has to mend it."""

    kind = "configuration"


class Problem(Exception):
    """Why a program is not for the device; `instruction` is the number of the one to blame, counted from 0."""

    def __init__(self, what, instruction=None):
        super().__init__(what)
        self.what = what
        self.instruction = instruction


class Program:
    """What is to be run: `instructions` are (name, wires, params); params are floats."""

    def __init__(self, wire):
        self.instructions = [(name, wires, params) for name, wires, params in wire["instructions"]]
        self.num_wires = wire["num_wires"]
        self.shots = wire["shots"]
        self.wire_order = wire["wire_order"]

    def measured(self):
        """The measured wires, in the order in which each shot has their values."""
        return [wire for name, wires, _ in self.instructions if name == "measure" for wire in wires or [0]]


class Stop:
    """How a run learns that it is to stop."""

    def __init__(self):
        self._now = threading.Event()
        self._after_shot = threading.Event()

    def is_now(self):
        """Whether to stop at once."""
        return self._now.is_set()

    def is_after_shot(self):
        """Whether no further shot is to begin."""
        return self._now.is_set() or self._after_shot.is_set()

    def wait(self, seconds):
        """Sleeps, but not longer than until it is to stop at once; says whether it is."""
        return self._now.wait(seconds)


class Driver:
    """What a driver does. Every method may raise one of the errors above."""

    def __init__(self, settings):
        """Keeps the settings, a dictionary from the configuration; the device is not touched."""
        self.settings = settings

    def capabilities(self):
        """What the device can do, without the device: a dictionary with `instructions` (names), `num_wires`,
        `max_shots`, `largest_value`, `stop` ("at_end", "after_shot" or "now") and, if there is one, `calibration`."""
        raise NotImplementedError

    def validate(self, program):
        """Raises a Problem where the device cannot run the program; without the device."""

    def identify(self):
        """Asks the device who it is, and changes no output: a dictionary with `model` and, where known, `vendor`,
        `serial`, `firmware` and `simulated`."""
        raise NotImplementedError

    def configure(self):
        """Programs what belongs to the settings; the device may have lost everything."""

    def prepare(self, program):
        """Loads a program, starts nothing, and returns the seconds that one shot and all of them will take."""
        raise NotImplementedError

    def run(self, shots, stop):
        """Runs what was prepared: yields the list of measured values of each shot. Looks at `stop`, and returns early
        when it says so."""
        raise NotImplementedError

    def safe_state(self):
        """Stops what runs, makes the outputs safe, and returns a line of text for each thing that was read back."""
        raise NotImplementedError

    def health(self):
        """Returns None, or a line of text that says what a person should look at."""

    def close(self):
        """Lets the device go."""


class _Server:
    def __init__(self, make):
        # What anybody prints would not be a message.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._out_lock = threading.Lock()
        self._make = make
        self._driver = None
        self._requests = queue.Queue()
        self._stop = Stop()
        self._prepared = None

    def serve(self):
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            message = self._requests.get()
            if message is None:
                break
            self._answer(message)
        self._let_go()

    def _read(self):
        for line in sys.stdin:
            message = json.loads(line)
            if message["method"] == "driver/abort":
                params = message["params"]
                if self._prepared is not None and params["run"] == self._prepared[0]:
                    event = self._stop._now if params["when"] == "now" else self._stop._after_shot
                    event.set()
            else:
                self._requests.put(message)
        # qspool has closed the stream, or is gone: nothing may stay on.
        self._stop._now.set()
        self._requests.put(None)
        time.sleep(LAST_WORDS_S)
        print("the driver does not stop; it ends in the middle of its run", flush=True)
        os._exit(1)

    def _let_go(self):
        if self._driver is not None:
            for last in (self._driver.safe_state, self._driver.close):
                try:
                    last()
                except Exception:
                    traceback.print_exc()
        os._exit(0)

    def _say(self, message):
        text = json.dumps({"jsonrpc": "2.0", **message}, allow_nan=False)
        with self._out_lock:
            self._out.write(text + "\n")
            self._out.flush()

    def _answer(self, message):
        try:
            result = self._call(message["method"], message.get("params") or {})
            reply = {"result": result}
        except Exception as error:
            kind = getattr(error, "kind", "device")
            if not isinstance(error, DriverError):
                traceback.print_exc()
            text = str(error) or type(error).__name__
            reply = {"error": {"code": -32000, "message": text, "data": {"class": kind}}}
        request_id = message.get("id")
        if request_id is not None:
            self._say({"id": request_id, **reply})

    def _call(self, method, params):
        if method == "initialize":
            if params["protocol"] != PROTOCOL:
                raise ConfigurationError(f"protocol {params['protocol']} is not known; this module speaks {PROTOCOL}")
            self._driver = self._make(params["settings"])
            return self._driver.capabilities()
        calls = {
            "driver/identify": lambda: self._driver.identify(),
            "driver/configure": lambda: self._driver.configure() and None,
            "driver/validate": lambda: self._validate(Program(params["program"])),
            "driver/prepare": lambda: self._prepare(params["run"], Program(params["program"])),
            "driver/run": lambda: self._run(params["run"], params["shots"]),
            "driver/safe_state": lambda: {"read_back": list(self._driver.safe_state())},
            "driver/health": lambda: {"degraded": self._driver.health()},
            "driver/close": lambda: self._driver.close() and None,
        }
        if method not in calls:
            raise DriverError(f"unknown method {method}")
        return calls[method]()

    def _validate(self, program):
        try:
            self._driver.validate(program)
        except Problem as problem:
            return {"what": problem.what, "instruction": problem.instruction}
        return None

    def _prepare(self, run, program):
        self._prepared = None
        self._stop = Stop()
        per_shot, total = self._driver.prepare(program)
        self._prepared = (run, program.shots)
        return {"per_shot_s": per_shot, "total_s": total}

    def _run(self, run, shots):
        if self._prepared != (run, shots):
            raise DriverError("this run was not prepared")
        stop, batch, count, since = self._stop, [], 0, time.monotonic()

        def hand_over():
            nonlocal count, since
            if batch:
                self._say({"method": "shots", "params": {"run": run, "first": count, "values": batch}})
                count += len(batch)
                batch.clear()
            since = time.monotonic()

        try:
            for values in self._driver.run(shots, stop):
                batch.append([int(value) for value in values])
                if len(batch) >= BATCH_SHOTS or time.monotonic() - since > BATCH_S:
                    hand_over()
        finally:
            self._prepared = None
            hand_over()
        if count == shots:
            return {"end": "complete", "shots": count}
        if stop.is_after_shot():
            return {"end": "stopped", "shots": count}
        raise DriverError(f"{count} shots where {shots} were asked for")


def serve(make):
    """Serves qspool until it closes the standard input. `make` makes the driver of its settings."""
    _Server(make).serve()
