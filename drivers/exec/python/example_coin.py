"""A driver to begin with: a coin that is turned by an angle and looked at.

    [driver.coin]
    type = "exec"
    command = ["python3", "/opt/drivers/example_coin.py"]

It takes `["turn", [0], [angle]]` and `["measure", [0], []]`.
"""

import math
import random

from qspool_driver import Driver, Problem, serve


class Coin(Driver):
    def __init__(self, settings):
        super().__init__(settings)
        self.shot_s = settings.get("shot_s", 0.0)
        self.angle = 0.0

    def capabilities(self):
        return {
            "instructions": ["turn", "measure"],
            "num_wires": 1,
            "max_shots": 100000,
            "largest_value": 1,
            "stop": "now",
        }

    def validate(self, program):
        for index, (name, wires, params) in enumerate(program.instructions):
            if name == "turn" and not 0 <= params[0] <= 2 * math.pi:
                raise Problem(f"the angle {params[0]} is not allowed; allowed: 0 to 2 pi", index)

    def identify(self):
        return {"model": "coin", "firmware": "1.0", "simulated": True}

    def prepare(self, program):
        self.angle = sum(params[0] for name, _, params in program.instructions if name == "turn")
        self.values = len(program.measured())
        return self.shot_s, self.shot_s * program.shots

    def run(self, shots, stop):
        for _ in range(shots):
            if stop.is_after_shot() or stop.wait(self.shot_s):
                return
            side = int(random.random() < math.sin(self.angle / 2) ** 2)
            yield [side] * self.values

    def safe_state(self):
        self.angle = 0.0
        return ["the coin lies"]


if __name__ == "__main__":
    serve(Coin)
