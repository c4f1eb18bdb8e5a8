"""A stream of bytes through libxenvchan, as Debian has it, between domains of one machine.

    vchan_on_machine.py XENCOMM PEER [BYTES]

PEER's source is vchan_peer.c. BYTES go each way, 16 MiB if nothing else is said. Then either end is
killed in the middle of it, and the other has to see that. With BYTES it says how fast they were.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'xen'))
import vchan

XENCOMM, PEER = map(os.path.abspath, sys.argv[1:3])
TOTAL = int(sys.argv[3]) if len(sys.argv) > 3 else 16 << 20
failed = 0


def expect(what, is_so, *details):
  global failed
  if not is_so:
    print(f'{what} is not so:', *details, flush=True)
    failed += 1


class Machine:

  def __init__(self, socket):
    self.socket = socket
    self.process = subprocess.Popen([XENCOMM, 'machine', f'--socket={socket}'],
                                    stdout=subprocess.PIPE, text=True)
    self.process.stdout.readline()

  def start(self, domain, *words, **options):
    here = [] if domain == 0 else [f'--domain={domain}']
    return subprocess.Popen([XENCOMM, 'run', f'--machine={self.socket}', *here, '--', *words],
                            **{'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE,
                               'stderr': subprocess.STDOUT, **options})

  def new_domain(self):
    """Which stays until the process that is answered has ended."""
    keeper = self.start('new:16', 'sh', '-c', 'echo $$ $XENCOMM_TRANSPORT; exec cat',
                        stdin=subprocess.PIPE)
    return keeper, int(re.search(rb'domain=(\d+)', keeper.stdout.readline()).group(1))


def pid_of(process, name):
  """Of the program that `xencomm run` has become, or has started."""
  for entry in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      parent = int((entry / 'stat').read_text().rsplit(') ', 1)[1].split()[1])
      is_it = (entry / 'comm').read_text().strip() == name[:15]
    except OSError:  # it has gone
      continue
    if is_it and process.pid in (parent, int(entry.name)):
      return int(entry.name)
  raise LookupError(name)


def run(machine, channel, number):
  path = channel.path(number)
  processes, outputs = [], []
  for end, domain in enumerate(channel.domains):
    words = map(str, channel.words(end, path, TOTAL))
    processes.append(machine.start(domain, PEER, *words))
    # The client looks for what the server has made.
    outputs.append(processes[end].stdout.readline() if end == 0 else b'')
  start = time.monotonic()
  if channel.victim is not None:
    for end, process in enumerate(processes):
      outputs[end] += process.stdout.readline()  # it is open
    time.sleep(channel.delay)
    os.kill(pid_of(processes[channel.victim], 'vchan_peer'), signal.SIGKILL)
  for end, process in enumerate(processes):
    try:
      outputs[end] += process.communicate(timeout=600 if channel.victim is None else 20)[0]
    except subprocess.TimeoutExpired:
      outputs[end] += b'it goes on'
      process.kill()
    expect(f'{channel}: the {vchan.ENDS[end]}',
           channel.is_as_expected(end, outputs[end].decode()), outputs[end])
  if len(sys.argv) > 3 and channel.victim is None:
    print(f'{channel}: {TOTAL / (time.monotonic() - start) / 1e6:.0f} MB/s')


def main():
  with tempfile.TemporaryDirectory() as place:
    machine = Machine(f'{place}/machine')
    keepers, domains = zip(*(machine.new_domain() for _ in range(2)))
    one, two = domains
    for number, channel in enumerate(vchan.plan([(0, one), (one, 0), (one, two)])):
      run(machine, channel, number)
    for keeper in keepers:
      keeper.stdin.close()
      expect('the end of a domain', keeper.wait(20) == 0)
    machine.process.terminate()
    expect('the end of the machine', machine.process.wait(20) == 0)
  return 1 if failed else 0


sys.exit(main())
