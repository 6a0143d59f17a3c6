"""Takes a job and ends it as the reference's loop does, and holds still, once, before one of its steps.

`before` names the step: `move`, when it has listed the queue; `delete_one` or `insert_one`, in the middle of the move on
MongoDB; `store`, when it has run the job; `write`, when it has also looked whether there is a result already; `finish`,
when it has stored the result; `leave`, in the middle of the move out of running on MongoDB; `tell`, when only the status
is missing. With `tear` it dies in the middle of writing the result into a local file.
"""

import builtins
import json
import os

from pymongo.collection import Collection
from sqooler.schemes import ResultDict, StatusMsgDict
from sqooler.storage_providers import local

from peer import USER, arguments, open_storage, report, wait_for_test

given = arguments()
storage = open_storage(given["storage"])
backend = given["backend"]


def hold_before(owner, name, when=lambda *arguments, **options: True):
    """Holds still before a call; the test may want the process to die there."""
    original = getattr(owner, name, None) or getattr(builtins, name)

    def holding(*arguments, **options):
        if when(*arguments, **options):
            setattr(owner, name, original)
            report(name)
            wait_for_test()
            if given.get("dies", False):
                os._exit(1)
        return original(*arguments, **options)

    setattr(owner, name, holding)


def hold_before_writing():
    """Holds still where the result is about to be written, which no two spoolers do at once on MongoDB only."""
    match given["storage"]["type"]:
        case "local":
            hold_before(local, "open", lambda path, mode="r", **options: mode == "w")
        case "mongodb":
            hold_before(Collection, "insert_one")
        case "dropbox":
            hold_before(storage, "upload_string")


def tear(content, file, **options):
    """Writes half of a document, as a process does that is killed meanwhile."""
    text = json.dumps(content, **options)
    file.write(text[: len(text) // 2])
    file.flush()
    os._exit(1)


match given["before"]:
    case "move":
        hold_before(storage, "move")
    case "delete_one" | "insert_one" as step:
        hold_before(Collection, step)

try:
    taken = storage.get_next_job_in_queue(backend)
except Exception as error:  # pylint: disable=broad-except
    report({"outcome": "lost", "error": type(error).__name__})
    raise SystemExit from error

match given["before"]:
    case "store":
        hold_before(storage, "upload_result")
    case "write":
        hold_before_writing()
    case "finish":
        hold_before(storage, "move")
    case "leave":
        hold_before(Collection, "insert_one", lambda collection, document: collection.name == f"finished.{backend}")
    case "tell":
        hold_before(storage, "update")
    case "tear":
        hold_before(storage, "upload_result")
        local.json.dump = tear

status = given.get("status", "DONE")
message = StatusMsgDict(job_id=taken.job_id, status=status, detail="Got your json.", error_message="None")
result = ResultDict(display_name=backend, backend_version="0.1", job_id=taken.job_id, status="INITIALIZING")
try:
    storage.update_in_database(result, message, taken.job_id, backend)
except Exception as error:  # pylint: disable=broad-except
    report({"outcome": "failed", "job_id": taken.job_id, "error": type(error).__name__})
else:
    status = storage.get_status(backend, USER, taken.job_id).status
    report({"outcome": "ended", "job_id": taken.job_id, "status": status})
