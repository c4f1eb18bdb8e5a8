"""Runs the devices program, as it runs in dom0 of real Xen, on a machine in each space.

    devices_on_machine.py XENCOMM RELEASE PROGRAM
"""

import re
import subprocess
import sys

failed = False
xencomm, release, program = sys.argv[1:]
for space in ['region', 'stateless', 'walk4', 'walk5']:
  done = subprocess.run([xencomm, 'run', f'--space={space}', f'--release={release}', '--', program],
                        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
  closing = (done.stdout.splitlines() or ['nothing printed'])[-1]
  print(f'{space}: {closing}')
  if done.returncode != 0 or not re.fullmatch(r'\d+ passed, 0 failed', closing):
    print(done.stdout)
    failed = True
sys.exit(failed)
