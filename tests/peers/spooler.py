"""The Python stack's own loop, with a simulator that always finds an atom on the second wire and none on the first."""

import sys
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


def new_spooler(sign):
    """The spooler of a backend, which signs with the key of the environment if it is to."""
    spooler = Spooler(
        ins_schema_dict={"turn": Turn, "fhop": Hop, "load": OneWire, "measure": OneWire},
        device_config=Experiment,
        n_wires=8,
        version="0.1",
        description="A simulator.",
        sign=sign,
    )
    spooler.gen_circuit = answer
    return spooler


def note_taken(storage):
    """Notes the ids of the jobs that the loop takes from the queue."""
    taken = []
    take = storage.get_next_job_in_queue

    def noting(display_name, private_jwk=None):
        job = take(display_name, private_jwk)
        if job.job_id != "None":
            taken.append(job.job_id)
        return job

    storage.get_next_job_in_queue = noting
    return taken


def has_lost_a_race(error):
    """Whether another spooler took the job that the loop was about to move. It ends the loop of sqooler 0.9.0."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.name == "move" for frame in frames)


given = peer.arguments()
backend = given["backend"]
storage = peer.open_storage(given["storage"])
taken = note_taken(storage)
backends = {backend: new_spooler(given.get("sign", False))}
if given.get("expect_refusal", False):
    try:
        update_backends(storage, backends)
    except ValueError as error:
        peer.report(str(error))
        sys.exit()
if given["publish"]:
    update_backends(storage, backends)
peer.report("ready")
peer.wait_for_test()

begin = time.monotonic()
deadline = begin + peer.PATIENCE_S
lost_races = []
while len(taken) < given["jobs"] and time.monotonic() < deadline:
    if given["until_empty"] and not peer.queued(storage, backend):
        break
    try:
        main(storage, backends, num_iter=1)
    except Exception as error:  # pylint: disable=broad-except
        # The job had left the queue, or had come to running already.
        if not has_lost_a_race(error):
            raise
        lost_races.append(type(error).__name__)
peer.report({"taken": taken, "lost_races": lost_races, "seconds": time.monotonic() - begin})
