"""Runs a program under valgrind's memcheck on a machine: a clean one is not complained of, one with a
fault is. By the devices, by our libxencall, and with the hypervisor in the process.

    memcheck_on_machine.py XENCOMM RELEASE PROGRAM LIBRARIES
"""

import os
import shutil
import subprocess
import sys

SKIPPED, COMPLAINED = 77, 99

if shutil.which('valgrind') is None:
  print('skipped: valgrind is not installed')
  sys.exit(SKIPPED)
failed = False
xencomm, release, program, libraries = sys.argv[1:]
for way, options, folder in [('devices', [], ''), ('our libxencall', [], libraries),
                             # memcheck looks for leaks in all of the machine's memory
                             ('in the process', ['--space=direct', '--memory=256M', '--dom0=64M'],
                              '')]:
  for what, wanted in [('clean', 0), ('input', COMPLAINED), ('output', COMPLAINED)]:
    done = subprocess.run([xencomm, 'run', f'--release={release}', *options, '--', 'valgrind', '-q',
                           f'--error-exitcode={COMPLAINED}', program, what],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100,
                          env=os.environ | {'LD_LIBRARY_PATH': folder})
    is_right = done.returncode == wanted and ('==' in done.stdout) == (wanted != 0)
    print(f'{way}, {what}: {"as wanted" if is_right else f"ended with {done.returncode}"}')
    if not is_right:
      print(done.stdout)
      failed = True
sys.exit(failed)
