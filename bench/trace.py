"""What `xencomm trace` costs a program that does nothing but ask Xen's devices, beside strace.

    /usr/bin/python3 bench/trace.py          after ./bench/run, which sets up and builds

The program makes hypercalls by ioctl where no device is (tests/unit/trace_program.c), so that the
system call is all that is there of them: untraced; traced into a file, and counted; and the same by
strace with a filter of system calls (--seccomp-bpf), which shows an ioctl's three numbers. The clock's
time, in turns, the median.
"""

import pathlib
import statistics
import subprocess
import tempfile
import time

import report

CALLS, TURNS = 20000, 5


def main():
  report.build('hcall/tools/xencomm', 'tests/unit/trace_program_static')
  xencomm = report.BUILD / 'hcall/tools/xencomm'
  program = [report.BUILD / 'tests/unit/trace_program_static', 'many', str(CALLS)]
  with tempfile.TemporaryDirectory() as folder:
    trace, strace = f'{folder}/trace', f'{folder}/strace'
    only = ['-f', '--seccomp-bpf', '-e', 'trace=ioctl']
    ways = {
        'untraced': [],
        'strace, into a file': ['strace', '-o', strace, *only],
        'strace -c': ['strace', '-o', strace, '-c', *only],
        'xencomm trace, into a file': [xencomm, 'trace', '-o', trace, '-f', '--'],
        'xencomm trace --binary': [xencomm, 'trace', '-o', trace, '--binary', '-f', '--'],
        'xencomm trace --json': [xencomm, 'trace', '-o', trace, '--json', '-f', '--'],
        'xencomm trace -c': [xencomm, 'trace', '-o', trace, '-c', '-f', '--'],
        'strace, without a filter': ['strace', '-o', strace, '-f', '-e', 'trace=ioctl'],
    }
    samples = {way: [] for way in ways}
    for _ in range(TURNS):
      for way, words in ways.items():
        begun = time.monotonic()
        subprocess.run([*words, *program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       stdin=subprocess.DEVNULL, check=False)
        samples[way].append((time.monotonic() - begun) / CALLS * 1e6)
  medians = {way: statistics.median(each) for way, each in samples.items()}
  for way, each in medians.items():
    print(f'{way:28} {each:8.2f} us a call   {each / medians["strace, into a file"]:5.2f} of strace')


if __name__ == '__main__':
  main()
