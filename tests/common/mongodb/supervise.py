"""Runs a server for as long as somebody holds the other end of standard input, and clears its folder at the end.

Each line of the input is a command as a JSON list. It is started once the one before it has ended, and its process id
is printed.
"""

import json
import shutil
import subprocess
import sys

server = None
for line in sys.stdin:
    if server is not None:
        server.wait()
    server = subprocess.Popen(json.loads(line), stdin=subprocess.DEVNULL, stdout=sys.stderr)
    print(server.pid, flush=True)
if server is not None:
    # A server that is frozen ends by this, too.
    server.kill()
    server.wait()
shutil.rmtree(sys.argv[1], ignore_errors=True)
