"""The op table in the release whose headers are installed, for tests that compare it with these.

Arguments: op_table.json, the source tree, the installed release (4.17.7), the folder that the headers
are in as xen/, and the C++ compiler's command. A test is skipped when the table does not know the
release.
"""

import json
import pathlib
import subprocess
import sys

SOURCE, INCLUDE, CXX = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[4]), sys.argv[5:]
RELEASE = ".".join(sys.argv[3].split(".")[:2])
EXPORT = json.loads(pathlib.Path(sys.argv[1]).read_text())
if RELEASE not in EXPORT["releases"]:
    print(f"skipped: headers of {RELEASE} are installed, the table knows "
          f"{', '.join(EXPORT['releases'])}")
    sys.exit(77)

for call in EXPORT["hypercalls"]:
    call["ops"] = [op for op in call["ops"] if RELEASE in op["releases"]]
EXPORT["hypercalls"] = [call for call in EXPORT["hypercalls"] if call["ops"]]

sys.path.append(str(SOURCE / "hcall/schema/compiler"))
import headers  # noqa: E402


def compiled(*options):
    """What the compiler answers to the text that sees of the headers what a toolstack does."""
    text = headers.source(INCLUDE) + '#include "hcall/schema/abi.h"\n'
    command = [*CXX, "-std=gnu++20", f"-I{SOURCE}", "-isystem", INCLUDE, "-x", "c++", *options, "-"]
    return subprocess.run(command, input=text, check=True, stdout=subprocess.PIPE, text=True).stdout
