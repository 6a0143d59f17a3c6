"""Answers each line of JSON with what json.dumps makes of it."""

import json
import sys

for line in sys.stdin:
    print(json.dumps(json.loads(line)))
