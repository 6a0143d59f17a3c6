"""Reads all that a storage has of the given backends, and holds every document against the reference's own models."""

import datetime
import json
import warnings

from sqooler.schemes import BackendConfigSchemaIn, ResultDict, StatusMsgDict
from sqooler.security import JWK, JWSDict

from peer import USER, arguments, open_storage, report, wait_for_test


def plain(value):
    """The value as JSON has it."""
    match value:
        case dict():
            return {key: plain(part) for key, part in value.items()}
        case list():
            return [plain(part) for part in value]
        case datetime.datetime():
            return value.replace(tzinfo=datetime.timezone.utc).isoformat()
        case bytes():
            return value.decode()
        case _:
            return value


def check(model, document):
    """Refuses a document that is not exactly what the model writes; gives it without its signature."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        is_signed = set(document) == {"header", "payload", "signature"}
        if is_signed:
            assert plain(JWSDict(**document).model_dump()) == plain(document), document
            document = document["payload"]
        # By the text, since an integer is no float, and the order of keys is that of the model.
        assert json.dumps(plain(model(**document).model_dump())) == json.dumps(plain(document)), document
    return is_signed


def verdict(storage, backend, job_id):
    """What the reference says of the signature of a result; how it fails where it does not say anything."""
    try:
        return storage.verify_result(backend, job_id)
    except Exception as error:  # pylint: disable=broad-except
        return type(error).__name__


def raw(storage, attribute, backend, job_id):
    """A document as it lies there."""
    path = storage.get_attribute_path(attribute, display_name=backend, job_id=job_id)
    return storage.get(path, storage.get_attribute_id(attribute, job_id))


def raw_config(storage, given, backend):
    """The configuration as it lies there, whatever the medium."""
    if given["storage"]["type"] == "mongodb":
        configs = storage.client["backends"]["configs"]
        found = configs.find_one({"display_name": backend}) or configs.find_one({"payload.display_name": backend})
        del found["_id"]
        return found
    path = storage.get_attribute_path("configs", display_name=backend)
    name = "config" if given["storage"]["type"] == "dropbox" else backend
    return storage.get(path, name)


def read_all(storage, given):
    """What is to be read of each backend."""
    read = {}
    for backend, job_ids in given["jobs"].items():
        signed = [check(BackendConfigSchemaIn, raw_config(storage, given, backend))]
        for job_id in job_ids:
            check(StatusMsgDict, raw(storage, "status", backend, job_id))
            status = storage.get_status(backend, USER, job_id)
            if status.status == "DONE":
                signed.append(check(ResultDict, raw(storage, "results", backend, job_id)))
        key = None
        if signed[0]:
            key = storage.get_public_key(backend)
            assert JWK(**key.model_dump()) == key
        read[backend] = {
            "signed": signed,
            "kid": key and key.kid,
            "statuses": [storage.get_status(backend, USER, job_id).model_dump() for job_id in job_ids],
            "results": [storage.get_result(backend, USER, job_id).model_dump() for job_id in job_ids],
            "verdicts": [verdict(storage, backend, job_id) for job_id in job_ids],
            "status": storage.get_backend_status(backend).model_dump(mode="json"),
            "dict": storage.get_backend_dict(backend).model_dump(mode="json"),
        }
    return {"backends": sorted(storage.get_backends()), "read": read}


given = arguments()
storage = open_storage(given["storage"])
for _ in range(given["times"] - 1):
    report(read_all(storage, given))
    wait_for_test()
report(read_all(storage, given))
