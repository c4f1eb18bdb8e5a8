"""Domain 0 and a guest on real Xen that share memory: what both run, step by step, and print.

The guest's kernel and userland are domain 0's own image, which lacks only what starts a guest. A
step is a program at either side. Those find one another by the store, so that the sides go in step
without being told; how the guest's ended, it prints on its console.
"""

import hashlib
import os
import pathlib
import random
import re
import subprocess
import tempfile
import typing

import vchan

NAME = 'neighbour'
DOMID = 1  # the first that domain 0 creates
KERNEL, IMAGE = 'neighbour-kernel', 'neighbour.cpio.gz'
CONSOLE = f'/var/log/xen/console/guest-{NAME}.log'
CONFIGURATION = f'''name = "{NAME}"
type = "pv"
memory = 160
kernel = "/{KERNEL}"
ramdisk = "/{IMAGE}"
extra = "console=hvc0 quiet panic=-1"
on_crash = "destroy"
'''
CHANNELS = list(vchan.plan([(0, DOMID), (DOMID, 0)]))
LIBRARIES = ['gnttab', 'xencomm']  # by which pages are lent and borrowed


class Loan(typing.NamedTuple):
  """Pages that one domain grants, and another maps and copies (neighbour.c)."""
  library: str
  domains: tuple  # who lends, who borrows

  def __str__(self):
    return f'{self.domains[0]} lends to {self.domains[1]} by {self.library}'

  def words(self, end):
    return [f'neighbour_{self.library}', ('lend', 'borrow')[end], self.domains[1 - end]]

  def is_as_expected(self, _, output):
    # Debian's library says what it was refused.
    return re.fullmatch(r'(gnttab: error: .*\n)*\d+ passed, 0 failed\n', output)


PART = random.Random(1).randbytes(1 << 20)  # a file of the image


class Stream(typing.NamedTuple):
  """Numbered parts that go from one domain to another by Debian's vchan-socket-proxy."""
  domains: tuple  # from where, where to
  parts: int = 64

  def __str__(self):
    return f'{self.parts} parts from {self.domains[0]} to {self.domains[1]} by vchan-socket-proxy'

  def words(self, end):
    path = f'/local/domain/{self.domains[0]}/data/stream'
    size = sum(map(len, self.content()))
    return ['sh', ('sender', 'receiver')[end], self.domains[1 - end], path,
            (self.parts - 1, size)[end]]

  def content(self):
    return (b'%d\n' % number + PART for number in range(self.parts))

  def is_as_expected(self, end, output):
    expected = hashlib.md5()
    for part in self.content():
      expected.update(part)
    return output == ('' if end == 0 else f'{expected.hexdigest()}  -\n')


# A proxy ends with its input, and what it has not written yet is lost then: its input has no end.
# The sender's serves, and ends with the receiver's.
SENDER = '''part=$PWD/part
cd $(mktemp -d)
mkfifo in
exec 3<>in
for i in $(seq 0 $3); do echo $i; cat $part; done >&3 &
exec vchan-socket-proxy --mode=server $1 $2 - <&3 >/dev/null
'''
RECEIVER = '''cd $(mktemp -d)
mkfifo in out
exec 3<>in
vchan-socket-proxy --mode=client $1 $2 - <&3 >out &
head -c $3 <out | md5sum
kill $!
'''

# From a guest to domain 0, and back.
STREAMS = [Stream((DOMID, 0)), Stream((0, DOMID))]
LOANS = [Loan(library, domains) for library in LIBRARIES for domains in [(DOMID, 0), (0, DOMID)]]

# What one side does of a step: its number, when the program is killed once a channel is open, and
# the program's words. Busybox's timeout becomes the program.
SHELL = '''
step() {
  number=$1 delay=$2
  shift 2
  : >/step
  timeout 200 "$@" </dev/null >/step 2>&1 &
  if [ $delay != never ]; then
    while kill -0 $! && ! grep -q ^open /step; do usleep 1000; done 2>/dev/null
    usleep $delay
    kill -9 $!
  fi
  wait $! 2>/dev/null
  echo "ended: $?" >/code
  { echo "step $number"; cat /step /code; } >>/steps
}
'''


def bytes_of(channel):
  """Enough to go round the rings often."""
  return 1 << 20 if channel.ring < 65536 else 4 << 20


def programs(build):
  return [build / 'tests/unit/vchan_peer',
          *(build / f'tests/xen/neighbour_{library}' for library in LIBRARIES)]


def words_of(number, step, end):
  """What is run for a step at one of its ends."""
  if not isinstance(step, vchan.Channel):
    return step.words(end)
  return ['vchan_peer', *step.words(end, step.path(number), bytes_of(step))]


def walk(steps, domain):
  """Of a shell: what is run in a domain."""
  lines = []
  for number, step in enumerate(steps):
    end = step.domains.index(domain)
    is_victim = isinstance(step, vchan.Channel) and step.victim == end
    delay = int(step.delay * 1e6) if is_victim else 'never'
    lines.append(f'step {number} {delay} {" ".join(map(str, words_of(number, step, end)))}')
  return '\n'.join(lines)


def files():
  """Of the image: their content by their names."""
  return {'part': PART, 'sender': SENDER.encode(), 'receiver': RECEIVER.encode()}


def on_machine(build, steps, utilities):
  """What both ends of each step print on a machine; Xen's own programs are in `utilities`. A killed
  end is not among them (vchan_on_machine.py)."""
  with tempfile.TemporaryDirectory() as place:
    for name, content in files().items():
      pathlib.Path(place, name).write_bytes(content)
    xencomm, socket = build / 'hcall/tools/xencomm', f'{place}/machine'
    path = os.pathsep.join([f'{utilities}', f'{build}/tests/xen', os.environ['PATH']])
    environment = {**os.environ, 'PATH': path, 'TMPDIR': place}
    def start(where, *words, **options):
      return subprocess.Popen(
          [xencomm, 'run', f'--machine={socket}', *where, '--', *words], env=environment,
          **{'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT,
             'text': True, **options})
    def start_end(number, step, domain):
      words = map(str, words_of(number, step, step.domains.index(domain)))
      where = [] if domain == 0 else [f'--domain={domain}']
      return start(where, *words, cwd=place)
    with subprocess.Popen([xencomm, 'machine', f'--socket={socket}'],
                          stdout=subprocess.PIPE) as machine:
      machine.stdout.readline()  # it is there
      # Its first guest, which stays until this ends.
      with start(['--domain=new:16'], 'sh', '-c', 'echo; exec cat',
                 stdin=subprocess.PIPE) as keeper:
        keeper.stdout.readline()
        for number, step in enumerate(steps):
          ends = [start_end(number, step, domain) for domain in step.domains]
          yield step, [end.communicate(timeout=600)[0] for end in ends]
        keeper.stdin.close()
      machine.terminate()


def guest_shell(steps):
  return f'''{SHELL}
{walk(steps, DOMID)}
cat /steps
echo "that was all"
sleep 1'''


def shell(steps):
  """Of domain 0's shell: what parse() reads is printed."""
  return f'''{SHELL}
xl create /{NAME}.cfg >/output 2>&1 || cat /output
{walk(steps, 0)}
for i in $(seq 100); do grep -q "that was all" {CONSOLE} && break; sleep 0.2; done
for side in 0 {DOMID}; do
  echo "run: neighbour: $side"
  if [ $side = 0 ]; then cat /steps; else cat {CONSOLE}; fi
done'''


def parse(text):
  """What each step printed, by its number. The kernel of whoever prints has its say in between."""
  text = re.sub(r'^(\[ *\d.*|\(XEN\).*|)\n', '', text, flags=re.MULTILINE)
  return {int(number): output for number, output in re.findall(
      r'^step (\d+)\n((?:.*\n)*?)ended: \d+$', text, flags=re.MULTILINE)}


def differences(steps, here, outputs, title):
  """Prints what was not as expected, or not as `here`, of a machine; answers how many ends of steps
  there are, and of how many of them that is so."""
  printed = {domain: parse(outputs.get(f'neighbour: {domain}', '')) for domain in (0, DOMID)}
  failed = 0
  for number, step in enumerate(steps):
    for end, domain in enumerate(step.domains):
      output = printed[domain].get(number, 'was not walked')
      if not step.is_as_expected(end, output) or output != here.get(step, {end: output})[end]:
        print(f'{title}: {step}: domain {domain} printed {output!r}')
        failed += 1
  return 2 * len(steps), failed
