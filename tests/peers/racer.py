"""Takes a job as the reference's loop does on MongoDB, and holds still between two of its steps."""

import os

from pymongo.collection import Collection
from sqooler.schemes import ResultDict, StatusMsgDict

from peer import USER, arguments, open_storage, report, wait_for_test

given = arguments()
storage = open_storage(given["storage"])
backend = given["backend"]


def hold_before(name, then):
    """Holds still, once, before an operation of the driver; `then` may end the process."""
    original = getattr(Collection, name)

    def holding(self, *arguments, **options):
        setattr(Collection, name, original)
        report(name)
        wait_for_test()
        then()
        return original(self, *arguments, **options)

    setattr(Collection, name, holding)


if given["dies"]:
    hold_before("insert_one", lambda: os._exit(1))
else:
    hold_before("delete_one", lambda: None)
taken = storage.get_next_job_in_queue(backend)

status = StatusMsgDict(job_id=taken.job_id, status="DONE", detail="Got your json.", error_message="None")
result = ResultDict(display_name=backend, backend_version="0.1", job_id=taken.job_id, status="INITIALIZING")
try:
    storage.update_in_database(result, status, taken.job_id, backend)
    outcome = "stored"
except FileExistsError:
    outcome = "refused"
report({"job_id": taken.job_id, "outcome": outcome, "status": storage.get_status(backend, USER, taken.job_id).status})
