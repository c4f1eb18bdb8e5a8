"""Runs a libxenctrl program on the embedded hypervisor in every space.

    every_space.py XENCOMM RELEASE PROGRAM

The hypervisor answers as RELEASE of Xen, which is the program's. Each run must pass its own checks,
and all must print the same, line by line. Where a machine has devices, the program runs by these and
the system's libraries of Xen, and once more over this library's, which the environment names.
"""

import difflib
import os
import re
import subprocess
import sys

SPACES = ['direct', 'walk4', 'walk5', 'region', 'stateless', 'xcom', 'inline']


def main():
  xencomm, release, program = sys.argv[1:]
  transcripts = {}
  failed = False
  over_devices = {name: value for name, value in os.environ.items() if name != 'LD_LIBRARY_PATH'}
  runs = [(space, space, os.environ) for space in SPACES]
  runs += [(f'{space}, by devices', space, over_devices) for space in ['region', 'walk4']]
  for way, space, environment in runs:
    run = subprocess.run([xencomm, 'run', f'--space={space}', f'--release={release}', '--', program],
                         text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    transcripts[way] = run.stdout.splitlines(keepends=True)
    closing = transcripts[way][-1].strip() if transcripts[way] else 'nothing printed'
    print(f'{way}: {closing}')
    if run.returncode != 0 or not re.fullmatch(r'\d+ passed, 0 failed', closing):
      sys.stdout.write(run.stdout + run.stderr)
      failed = True
  first = SPACES[0]
  for way in transcripts:
    difference = list(difflib.unified_diff(transcripts[first], transcripts[way], first, way))
    sys.stdout.writelines(difference)
    failed = failed or bool(difference)
  sys.exit(failed)


main()
