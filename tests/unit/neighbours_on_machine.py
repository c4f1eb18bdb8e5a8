"""Two domains of one machine that share pages, as domain 0 and a guest do on real Xen.

    neighbours_on_machine.py BUILD FOLDER [PARTS]

The programs are tests/xen/neighbour.c, and Debian's vchan-socket-proxy: of xen-utils where it is
installed, or else the package's, unpacked into FOLDER. With PARTS only streams go through it, of so
many MiB.
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'xen'))
import neighbour
import packages

build, folder = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
steps = [*neighbour.LOANS, *neighbour.STREAMS]
if len(sys.argv) > 3:
  steps = [stream._replace(parts=int(sys.argv[3])) for stream in neighbour.STREAMS]
utilities = packages.utilities_of(pathlib.Path('/'))
if utilities is None:
  try:
    utilities = packages.utilities_of(packages.Archive().unpack(folder, packages.UTILITIES))
  except (OSError, LookupError, subprocess.CalledProcessError) as error:
    print(f'without vchan-socket-proxy, which cannot be downloaded: {error}')
    steps = neighbour.LOANS
failed = False
for step, outputs in neighbour.on_machine(build, steps, utilities):
  for end, output in enumerate(outputs):
    print(f'{step}: {output.splitlines()[-1:]}')
    if not step.is_as_expected(end, output):
      print(output)
      failed = True
sys.exit(failed)
