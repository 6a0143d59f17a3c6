"""Takes a job as the reference's loop does, and holds still before one of its steps."""

import os

from sqooler.schemes import ResultDict, StatusMsgDict

from peer import USER, arguments, open_storage, report, wait_for_test

given = arguments()
storage = open_storage(given["storage"])
backend = given["backend"]


def hold_before(owner, name):
    """Holds still, once, before a call; the test may want the process to die there."""
    original = getattr(owner, name)

    def holding(*arguments, **options):
        setattr(owner, name, original)
        report(name)
        wait_for_test()
        if given["dies"]:
            os._exit(1)
        return original(*arguments, **options)

    setattr(owner, name, holding)


if given["before"] == "move":
    # It has listed the queue.
    hold_before(storage, "move")
else:
    # On MongoDB, a step of the move.
    from pymongo.collection import Collection

    hold_before(Collection, given["before"])

try:
    taken = storage.get_next_job_in_queue(backend)
except Exception as error:  # pylint: disable=broad-except
    report({"outcome": "lost", "error": type(error).__name__})
else:
    status = StatusMsgDict(job_id=taken.job_id, status="DONE", detail="Got your json.", error_message="None")
    result = ResultDict(display_name=backend, backend_version="0.1", job_id=taken.job_id, status="INITIALIZING")
    try:
        storage.update_in_database(result, status, taken.job_id, backend)
        outcome = "stored"
    except FileExistsError:
        outcome = "refused"
    status = storage.get_status(backend, USER, taken.job_id).status
    report({"outcome": outcome, "job_id": taken.job_id, "status": status})
