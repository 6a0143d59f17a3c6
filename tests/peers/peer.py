"""What the scripts beside this one share: the storage, its users, and the talk with the test."""

import json
import sys
import time
import warnings

with warnings.catch_warnings():
    # Loading sqooler 0.9.0 makes pydantic complain; what comes after that is about the documents.
    warnings.simplefilter("ignore")
    from pymongo.mongo_client import MongoClient
    from sqooler.schemes import DropboxLoginInformation, LocalLoginInformation
    from sqooler.storage_providers.base import StorageCore
    from sqooler.storage_providers.dropbox import DropboxProvider
    from sqooler.storage_providers.local import LocalProvider
    from sqooler.storage_providers.mongodb import MongodbProvider

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


def open_storage(login):
    """The storage of the test, as the reference opens it."""
    match login:
        case {"type": "local", "base_path": base_path}:
            return LocalProvider(LocalLoginInformation(base_path=base_path))
        case {"type": "mongodb", "url": url, **user}:
            # The reference's own constructor knows names in the DNS only; everything else is as it makes it.
            storage = MongodbProvider.__new__(MongodbProvider)
            StorageCore.__init__(storage, name="default")
            storage.client = MongoClient(url, **user)
            storage.client.admin.command("ping")
            return storage
        case {"type": "dropbox", **account}:
            # Variables of its SDK lead it to the server of the tests.
            return DropboxProvider(DropboxLoginInformation(**account))
        case _:
            raise ValueError(f"no storage of type {login['type']}")


def submit(storage, backend, job):
    """Submits as the HTTP server does it: first the job, then its status."""
    job_id = storage.upload_job(job, backend, USER)
    storage.upload_status(backend, USER, job_id)
    return job_id


def queued(storage, backend):
    """The names of the jobs that wait."""
    return storage.get_file_queue(storage.get_attribute_path("queue", display_name=backend))


def wait_for_end(storage, backend, job_id):
    """The status with which the job ends."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        status = storage.get_status(backend, USER, job_id)
        if status.status != "INITIALIZING":
            return status
        time.sleep(0.002)
    raise TimeoutError(f"the job {job_id} of {backend} does not end")
