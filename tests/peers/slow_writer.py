"""Writes jobs into a queue in place and slowly, and tells how long after the last byte each one ended."""

import json
import os
import time

from peer import USER, arguments, open_storage, report, wait_for_end

PAUSE_S = 0.3

given = arguments()
storage = open_storage(given["storage"])
backend = given["backend"]
text = json.dumps(given["job"])
queue = os.path.join(given["storage"]["base_path"], "jobs/queued", backend)
os.makedirs(queue, exist_ok=True)

ends = []
for first_part in (0, 1, len(text) // 2, len(text) - 1):
    job_id = storage.create_job_id(backend, USER)
    with open(os.path.join(queue, f"{job_id}.json"), "w", encoding="utf-8") as file:
        file.write(text[:first_part])
        file.flush()
        time.sleep(PAUSE_S)
        file.write(text[first_part:])
    whole_since = time.monotonic()
    storage.upload_status(backend, USER, job_id)
    status = wait_for_end(storage, backend, job_id)
    ends.append({"status": status.model_dump(), "seconds": time.monotonic() - whole_since})

report(ends)
