"""What the scripts beside this one share: the storage, its users, and the talk with the test."""

import json
import sys
import time
import warnings

with warnings.catch_warnings():
    # Loading sqooler 0.9.0 makes pydantic complain; what comes after that is about the documents.
    warnings.simplefilter("ignore")
    from sqooler.schemes import LocalLoginInformation
    from sqooler.storage_providers.local import LocalProvider

warnings.simplefilter("error")

USER = "user"
PATIENCE_S = 60


def arguments():
    """What the test hands over."""
    return json.loads(sys.argv[1])


def report(facts):
    """Tells the test something."""
    print(json.dumps(facts), flush=True)


def wait_for_test():
    """Waits until the test says to go on."""
    sys.stdin.readline()


def open_storage(base_path):
    """The storage of the test."""
    return LocalProvider(LocalLoginInformation(base_path=base_path))


def submit(storage, backend, job):
    """Submits as the HTTP server does it: first the job, then its status."""
    job_id = storage.upload_job(job, backend, USER)
    storage.upload_status(backend, USER, job_id)
    return job_id


def wait_for_end(storage, backend, job_id):
    """The status with which the job ends."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        status = storage.get_status(backend, USER, job_id)
        if status.status != "INITIALIZING":
            return status
        time.sleep(0.002)
    raise TimeoutError(f"the job {job_id} of {backend} does not end")
