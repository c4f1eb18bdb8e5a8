"""Domain 0 and a guest on real Xen that share memory: what both run, step by step, and print.

The guest's kernel and userland are domain 0's own image, which lacks only what starts a guest. A
step is a program at either side. Those find one another by the store, so that the sides go in step
without being told; how the guest's ended, it prints on its console.
"""

import re

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

# What one side does of a step: its number, when the program is killed once a channel is open, and
# the program's words. Busybox's timeout becomes the program.
SHELL = '''
step() {
  number=$1 delay=$2
  shift 2
  : >/step
  timeout 60 "$@" </dev/null >/step 2>&1 &
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
  return [build / 'tests' / 'unit' / 'vchan_peer']


def steps(domain):
  """Of a shell: what is run in it."""
  lines = []
  for number, channel in enumerate(CHANNELS):
    end = channel.domains.index(domain)
    delay = int(channel.delay * 1e6) if channel.victim == end else 'never'
    words = map(str, channel.words(end, channel.path(number), bytes_of(channel)))
    lines.append(f'step {number} {delay} vchan_peer {" ".join(words)}')
  return '\n'.join(lines)


def guest_shell():
  return f'''{SHELL}
{steps(DOMID)}
cat /steps
echo "that was all"
sleep 1'''


def shell():
  """Of domain 0's shell: what parse() reads is printed."""
  return f'''{SHELL}
xl create /{NAME}.cfg >/output 2>&1 || cat /output
{steps(0)}
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


def differences(outputs, title):
  """Prints what was not as expected; answers how many ends of steps there are, and of how many of
  them that is so."""
  printed = {domain: parse(outputs.get(f'neighbour: {domain}', '')) for domain in (0, DOMID)}
  failed = 0
  for number, channel in enumerate(CHANNELS):
    for end, domain in enumerate(channel.domains):
      output = printed[domain].get(number, 'was not walked')
      if not channel.is_as_expected(end, output):
        print(f'{title}: {channel}: the {vchan.ENDS[end]} printed {output!r}')
        failed += 1
  return 2 * len(CHANNELS), failed
