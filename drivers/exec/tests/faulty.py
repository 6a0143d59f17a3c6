"""The coin, with faults that the test asks for in its settings, and a plug that is a file."""

import os
import signal
import sys
import time

sys.path.insert(0, sys.argv[1])

from example_coin import Coin
from qspool_driver import DriverError, RetryError, serve


class Faulty(Coin):
    def _check_plug(self):
        if os.path.exists(self.settings["unplugged"]):
            raise DriverError("the coin is not there; plug it in")

    def identify(self):
        self._check_plug()
        return super().identify()

    def configure(self):
        self._check_plug()

    def prepare(self, program):
        self._check_plug()
        return super().prepare(program)

    def health(self):
        self._check_plug()

    def safe_state(self):
        self._check_plug()
        with open(self.settings["safe"], "a", encoding="utf-8") as file:
            file.write("safe\n")
        return super().safe_state()

    def run(self, shots, stop):
        fault = self.settings.get("fault")
        for count, values in enumerate(super().run(shots, stop)):
            self._check_plug()
            if count == 2 and fault:
                self._fail(fault)
            yield values

    def _fail(self, fault):
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "garbage":
            os.write(self.settings["stdout"], b"this is no message\n")
        elif fault == "raise":
            raise ValueError("a defect, with a traceback")
        elif fault == "retry":
            raise RetryError("a trigger was missed")
        elif fault == "deaf":
            time.sleep(3600)
        elif fault == "noise":
            print("\n".join("a line of noise" for _ in range(100000)))


serve(Faulty)
