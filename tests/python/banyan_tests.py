"""Runs the tests that Python Banyan has for its components of many backplanes, at the backplane with the given ports.

They come with the package, but for the routing specifications that they read; those are written here, by what each test
expects of its own, and left in the given folder. Says PASSED and how many, or FAILED and which.
"""

import os
import shutil
import sys
from pathlib import Path

import msgpack
import pytest
import python_banyan.tests.banyan_base_multi as theirs
from python_banyan.banyan_base_multi import banyan_base_multi

# The package uses this name and never defines it.
banyan_base_multi.umsgpack = msgpack

subscriber, publisher, folder = sys.argv[1:]
HEADER = "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\n"
MOTORS = f'Motors,127.0.0.1,{subscriber},"[motor]",\n'
SENSORS = f"Sensors,127.0.0.1,,,{publisher}\n"
SPECS = {
    "sample": MOTORS + SENSORS + f'LEDS,127.0.0.1,{subscriber},"[led,lamp]",{publisher}\n',
    "sample_duplicate_backplane_name": MOTORS + MOTORS,
    "sample_missing_left_bracket": MOTORS.replace("[", ""),
    "sample_missing_right_bracket": MOTORS.replace("]", ""),
    "sample_with_space": MOTORS.replace("[motor]", "[motor, other]"),
}


class Verdicts:
    """Which tests passed and which did not."""

    def __init__(self):
        self.passed, self.failed = 0, []

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(f"{report.nodeid}: {report.longrepr}")
        elif report.when == "call":
            self.passed += 1


folder = Path(folder)
shutil.copy(Path(theirs.__file__).with_name("test_banyanBaseMulti.py"), folder)
(folder / "test_specs").mkdir()
for name, rows in SPECS.items():
    (folder / "test_specs" / f"{name}.csv").write_text(HEADER + rows)
# One of the tests starts a backplane unless it sees one; here one runs already.
backplane = folder / "backplane"
backplane.write_text("#!/bin/sh\n")
backplane.chmod(0o755)
os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
os.chdir(folder)
verdicts = Verdicts()
pytest.main(["-q", "-p", "no:cacheprovider", str(folder)], plugins=[verdicts])

for failure in verdicts.failed:
    print(failure)
print("FAILED" if verdicts.failed else "PASSED", verdicts.passed)
