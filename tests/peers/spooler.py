"""The Python stack's own loop, with a simulator that always finds an atom on the second wire and none on the first."""

import os
import time
import traceback
from typing import Literal

import peer

from pydantic import BaseModel, Field
from sqooler.schemes import DataDict, ExperimentDict, GateInstruction
from sqooler.spoolers import Spooler
from sqooler.utils import main, update_backends


class Turn(GateInstruction):
    name: Literal["turn"] = "turn"
    wires: list[int] = Field(max_length=1)
    params: list[float] = Field(max_length=1)
    parameters: str = "omega"
    description: str = "A gate."
    coupling_map: list = [[0], [1]]
    qasm_def: str = "gate turn(omega) {}"


class Hop(GateInstruction):
    name: Literal["fhop"] = "fhop"
    wires: list[int] = Field(max_length=4)
    params: list[float] = Field(max_length=1)
    parameters: str = "j_i"
    description: str = "A gate on four wires."
    coupling_map: list = [[0, 1, 2, 3]]
    qasm_def: str = "{}"


class OneWire(BaseModel):
    name: Literal["load", "measure"]
    wires: list[int] = Field(max_length=1)
    params: list[float] = Field(max_length=0)


class Experiment(BaseModel):
    wire_order: Literal["interleaved", "sequential"]
    shots: int = Field(gt=0, le=1000)
    num_wires: int = Field(gt=0, le=8)
    instructions: list[list]
    seed: int | None = None


def answer(name, experiment):
    """Runs an experiment."""
    return ExperimentDict(
        header={"name": name, "extra metadata": "text"},
        shots=experiment.shots,
        success=True,
        data=DataDict(memory=["0 1"] * experiment.shots, instructions=experiment.instructions),
    )


def new_spooler():
    """The spooler of a backend."""
    spooler = Spooler(
        ins_schema_dict={"turn": Turn, "fhop": Hop, "load": OneWire, "measure": OneWire},
        device_config=Experiment,
        n_wires=8,
        version="0.1",
        description="A simulator.",
    )
    spooler.gen_circuit = answer
    return spooler


class Storage(peer.LocalProvider):
    """The storage, which notes what the loop has taken from the queue."""

    taken = []

    def get_next_job_in_queue(self, display_name, private_jwk=None):
        job = super().get_next_job_in_queue(display_name, private_jwk)
        if job.job_id != "None":
            self.taken.append(job.job_id)
        return job


def has_lost_a_race(error):
    """Whether another spooler took the job that the loop was about to move. It ends the loop of sqooler 0.9.0."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.name == "get_next_job_in_queue" for frame in frames)


given = peer.arguments()
backend = given["backend"]
storage = Storage(peer.LocalLoginInformation(base_path=given["base_path"]))
backends = {backend: new_spooler()}
if given["publish"]:
    update_backends(storage, backends)
queue = os.path.join(given["base_path"], "jobs/queued", backend)
peer.report("ready")
peer.wait_for_test()

begin = time.monotonic()
deadline = begin + peer.PATIENCE_S
lost_races = 0
while len(storage.taken) < given["jobs"] and time.monotonic() < deadline:
    if given["until_empty"] and not os.listdir(queue):
        break
    try:
        main(storage, backends, num_iter=1)
    except OSError as error:
        # The job had left the queue, or had come to running already.
        if not has_lost_a_race(error):
            raise
        lost_races += 1
peer.report({"taken": storage.taken, "lost_races": lost_races, "seconds": time.monotonic() - begin})
