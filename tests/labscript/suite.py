"""The labscript suite without a screen, in a profile of its own: `suite.py FOLDER` starts it, prints `ready`, and ends it
when the standard input closes, with everything that it made. A line `kill` ends BLACS in the middle of what it does,
`start` starts it again.

The profile always lies in the home folder of the account, so that nothing is touched where there is one.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

# How long the programs of the suite may take until they listen, in seconds.
START_S = 60.0

PORTS = {"runmanager": 42523, "blacs": 42517, "zlock": 7339, "zlog": 7340}

CONNECTION_TABLE = '''
from labscript import start, stop
from labscript_devices.DummyPseudoclock.labscript_devices import DummyPseudoclock
from labscript_devices.FunctionRunner.labscript_devices import FunctionRunner

DummyPseudoclock(name="pseudoclock")
FunctionRunner(name="function_runner")

if __name__ == "__main__":
    start()
    stop(1.0)
'''


def listens(port):
    try:
        socket.create_connection(("localhost", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def make_profile(folder):
    """A profile with the connection table, and with the globals of the driver in an active group of runmanager."""
    from labscript_profile import create, default_labconfig_path

    create.create_profile()
    labconfig = default_labconfig_path()
    drive = os.path.join(folder, "shared")
    text = labconfig.read_text().replace("$HOME/labscript_shared", drive)
    labconfig.write_text(text.replace("communication_timeout = 60", "communication_timeout = 5"))
    library = os.path.join(create.LABSCRIPT_SUITE_PROFILE, "userlib", "labscriptlib", "example_apparatus")
    with open(os.path.join(library, "connection_table.py"), "w", encoding="utf-8") as file:
        file.write(CONNECTION_TABLE)

    import labscript_utils.h5_lock  # noqa: F401
    import runmanager
    from labscript_utils.labconfig import LabConfig, save_appconfig

    config = LabConfig()
    table = config.get("paths", "connection_table_h5")
    os.makedirs(os.path.dirname(table), exist_ok=True)
    runmanager.new_globals_file(table)
    script = config.get("paths", "connection_table_py")
    compiled = (
        "import runpy, sys, labscript\n"
        "labscript.labscript_init(*sys.argv[1:])\n"
        "runpy.run_path(sys.argv[2], run_name='__main__')\n"
    )
    subprocess.run([sys.executable, "-c", compiled, table, script], check=True, cwd=library)
    globals_file = os.path.join(folder, "globals.h5")
    runmanager.new_globals_file(globals_file)
    runmanager.new_group(globals_file, "qspool")
    for name, value in (("shots", "0"), ("job_id", "''")):
        runmanager.new_global(globals_file, "qspool", name)
        runmanager.set_value(globals_file, "qspool", name, value)
    state = {"h5_files_open": [globals_file], "active_groups": [(globals_file, "qspool")], "send_to_blacs": True}
    save_appconfig(config.get("runmanager", "autoload_config_file"), {"runmanager_state": state})


def start(program, log):
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.Popen(
        [sys.executable, "-m", program],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def below(pid):
    """A process and all that it has started."""
    found = [pid]
    for parent in found:
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{parent}/task/{thread}/children") as file:
                    found += [int(child) for child in file.read().split()]
            except OSError:
                pass
    return found


def end(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def servers(profile):
    """zlock and zlog, which the suite leaves behind: those that log into the profile."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if {"zprocess.zlock", "zprocess.zlog"} & set(words) and any(word.startswith(profile) for word in words):
            found.append(int(name))
    return found


def wait(programs):
    """Waits until all of the suite listen."""
    begin = time.monotonic()
    while not all(map(listens, PORTS.values())):
        ended = [name for name, program in programs.items() if program.poll() is not None]
        if ended or time.monotonic() > begin + START_S:
            raise RuntimeError(f"the suite does not start: {ended or 'nobody listens'}; see suite.log")
        time.sleep(0.1)


def main(folder):
    import labscript_profile

    profile = str(labscript_profile.LABSCRIPT_SUITE_PROFILE)
    busy = [name for name, port in PORTS.items() if listens(port)]
    if os.path.exists(profile) or busy:
        print(f"refused: there is a {profile} already, or one listens: {busy}", flush=True)
        return
    programs = {}
    try:
        with open(os.path.join(folder, "suite.log"), "w", encoding="utf-8") as log:
            # What the suite prints goes to the log.
            out = os.fdopen(os.dup(1), "w")
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            make_profile(folder)
            programs = {name: start(name, log) for name in ("runmanager", "blacs")}
            wait(programs)
            print("ready", file=out, flush=True)
            for line in sys.stdin:
                if line.strip() == "kill":
                    end(below(programs["blacs"].pid))
                    programs["blacs"].wait()
                elif line.strip() == "start":
                    programs["blacs"] = start("blacs", log)
                    wait(programs)
                print("done", file=out, flush=True)
    finally:
        end([pid for program in programs.values() for pid in below(program.pid)] + servers(profile))
        shutil.rmtree(profile, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main(sys.argv[1])
