"""Writes and reads documents as the reference does: with pymongo, and nothing in between."""

import json
import sys
from datetime import datetime, timezone

from bson import ObjectId
from pymongo import MongoClient

given = json.loads(sys.argv[1])
client = MongoClient(given["url"])

status = client["status"]["fermions"]
status.insert_one({**json.loads(given["text"]), "_id": ObjectId(given["theirs"])})
ours = status.find_one({"_id": ObjectId(given["ours"])})
ours.pop("_id")

configs = client["backends"]["configs"]
configs.insert_one({"display_name": "rydberg", "last_queue_check": datetime(2026, 11, 22, 4, 15, 19, tzinfo=timezone.utc)})
check = configs.find_one({"display_name": "fermions"})["last_queue_check"]

print(json.dumps({"ours": ours, "check": [type(check).__name__, check.isoformat()]}))
