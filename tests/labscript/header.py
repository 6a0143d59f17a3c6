

# What the tests need besides the header that is shipped, which stands above.
def pause(shot_context, t, seconds):
    import time

    time.sleep(seconds)


class TestExperiment(ExperimentClass):
    def number(self, wires, params):
        """Measures the number of the shot."""
        self.atoms = shots

    def slow(self, wires, params):
        """Makes the shot so many seconds longer."""
        function_runner.add_function("start", pause, params[0])

    def fail(self, wires, params):
        raise ValueError("the laser is off")

    def forget(self, wires, params):
        """Leaves nothing to be read."""
        self.measure = lambda wires, params: None


Experiment = TestExperiment()
