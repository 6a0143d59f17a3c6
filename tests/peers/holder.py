"""Takes a job as the Python stack's loop does, holds it as long as the test wants, and ends it."""

from sqooler.schemes import ResultDict, StatusMsgDict

from peer import USER, arguments, open_storage, report, submit, wait_for_test

given = arguments()
storage = open_storage(given["storage"])
backend = given["backend"]
job_id = submit(storage, backend, given["job"])
taken = storage.get_next_job_in_queue(backend)
assert taken.job_id == job_id, taken
report({"job_id": job_id})
wait_for_test()

status = StatusMsgDict(job_id=job_id, status="DONE", detail="Got your json.", error_message="None")
result = ResultDict(display_name=backend, backend_version="0.1", job_id=job_id, status="INITIALIZING")
storage.update_in_database(result, status, job_id, backend)
report(storage.get_status(backend, USER, job_id).model_dump())
