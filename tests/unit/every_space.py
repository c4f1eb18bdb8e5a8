"""Runs a libxenctrl program on the embedded hypervisor in every space.

    every_space.py XENCOMM RELEASE PROGRAM

The hypervisor answers as RELEASE of Xen, which is the program's. Each run must pass its own checks,
and all must print the same, line by line.
"""

import difflib
import re
import subprocess
import sys

SPACES = ['direct', 'walk4', 'walk5', 'region', 'stateless', 'xcom', 'inline']


def main():
  xencomm, release, program = sys.argv[1:]
  transcripts = {}
  failed = False
  for space in SPACES:
    run = subprocess.run([xencomm, 'run', f'--space={space}', f'--release={release}', '--', program],
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    transcripts[space] = run.stdout.splitlines(keepends=True)
    closing = transcripts[space][-1].strip() if transcripts[space] else 'nothing printed'
    print(f'{space}: {closing}')
    if run.returncode != 0 or not re.fullmatch(r'\d+ passed, 0 failed', closing):
      sys.stdout.write(run.stdout + run.stderr)
      failed = True
  first = SPACES[0]
  for space in SPACES[1:]:
    difference = list(difflib.unified_diff(transcripts[first], transcripts[space], first, space))
    sys.stdout.writelines(difference)
    failed = failed or bool(difference)
  sys.exit(failed)


main()
