"""A user's program: submits jobs, waits for their ends, and reads all that a storage has to say."""

from peer import USER, arguments, open_storage, report, submit, wait_for_end


def document(schema):
    """The document as any reader of it gets it."""
    return schema.model_dump(mode="json")


given = arguments()
storage = open_storage(given["storage"])
backend = given["backend"]
job_ids = [submit(storage, backend, job) for job in given["jobs"]]
for job_id in job_ids:
    wait_for_end(storage, backend, job_id)

report(
    {
        "job_ids": job_ids,
        # Read again when all is over: nothing may hide the end of a job later on.
        "statuses": [document(storage.get_status(backend, USER, job_id)) for job_id in job_ids],
        "results": [document(storage.get_result(backend, USER, job_id)) for job_id in job_ids],
        "backends": sorted(storage.get_backends()),
        "config": document(storage.get_config(backend)),
        "backend_dict": document(storage.get_backend_dict(backend)),
        "backend_status": document(storage.get_backend_status(backend)),
    }
)
