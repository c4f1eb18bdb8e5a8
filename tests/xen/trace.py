"""What `xencomm trace` shows of programs on real Xen: what is typed, and what holds of the output."""

import re

import life

KINDS = ['pv', 'pvh']

# What the shell of domain 0 is told, by a name. `T` writes to a file, which is shown behind it.
T = 'xencomm trace -o /t'
STEPS = {
    'create': f'{T} -f -qq -- xl create -e -p pv-guest.cfg; cat /t; echo id; xl domid pv-guest',
    'list': f'{T} -f -qq -e sysctl,failed -- xl list; cat /t',
    'named': f'{T} -f -qq -y -e domctl.getvcpuinfo -- xl vcpu-list pv-guest; cat /t',
    'counted': f'{T} -f -c -- xl list >/dev/null; cat /t',
    'topology': f'{T} -qq -- xenpm get-cpu-topology; cat /t',
    'static': f'DEVICE=/dev/xen/privcmd {T} -qq -- trace_program_static calls; '
              'echo "exit code $?"; cat /t',
    'threads': f'DEVICE=/dev/xen/privcmd {T} -f -qq -- trace_program_static threads; cat /t',
    # Another user's, by whose rights it runs.
    'setuid': 'cp /bin/trace_program_static /s; chown 1000 /s; chmod 4755 /s; chmod 666 '
              f'/dev/xen/privcmd; DEVICE=/dev/xen/privcmd {T} -qq -- /s user; '
              'echo "exit code $?"; chmod 600 /dev/xen/privcmd; cat /t',
    'recorded': f'{T} -f --binary -- xl list >/dev/null; xencomm trace --read=/t -qq',
    # A daemon, attached to, while others need it; what is asked for by -y is not asked of it.
    'daemon': f'{T} -y -p $(pidof xenstored) & sleep 2; xl create -e -p pvh-guest.cfg; xl list; '
              'kill -INT $!; wait; cat /t; xl domid pvh-guest',
    'destroyed': f'{T} -f -qq -e hypercall -- xl destroy pv-guest; cat /t; xl destroy pvh-guest; '
                 'xl list',
    'failing': f'{T} -f -qq -e domctl,memory_op,failed -- xl create -e -p large.cfg; '
               'echo "exit code $?"; cat /t',
    # Two domains' lives, made again by a machine like this one, and by Xen itself.
    'replayed': f'{T} -f --binary -- sh -c "xl create -e -p pv-guest.cfg; xl vcpu-list; '
                'xl create -e -p pvh-guest.cfg; xl destroy pv-guest; xl destroy pvh-guest"; '
                'xencomm replay --all --cpus=$(nproc) /t; echo "exit code $?"; '
                'xencomm replay --all --xen /t; echo "exit code $?"; xl list',
    # What began before it was watched is not made again.
    'half of it': f'xl create -e -p pvh-guest.cfg; {T} --binary -- xl destroy pvh-guest; '
                  'xencomm replay /t; echo "exit code $?"',
    '32 bits': 'xencomm trace -- trace_32_bit; echo "exit code $?"',
}


def programs(build):
  """Those of this folder's build that no loader knows."""
  unit = build / 'tests' / 'unit'
  return [path for path in (unit / 'trace_program_static', unit / 'trace_32_bit') if path.exists()]


def files():
  """By their names in the image."""
  large = life.configuration('pvh', '/kernel').replace('vcpus = 2', 'vcpus = 2\nmaxvcpus = 1000')
  return {f'{kind}-guest.cfg': life.configuration(kind, '/kernel') for kind in KINDS} | {
      'large.cfg': large.replace('pvh-guest', 'large')}


def shell():
  """Into a file: what Xen prints meanwhile would come in between."""
  steps = '\n'.join(f'echo "== {name}"\n{{ {line}; }}' for name, line in STEPS.items())
  return f'{{\n{steps}\n}} >/traces 2>&1 </dev/null\necho "run: traces"\ncat /traces'


class Checks:

  def __init__(self, text, title):
    parts = re.split(r'^== (.*)$', text, flags=re.MULTILINE)
    self.outputs = {name: [line for line in part.splitlines() if line]
                    for name, part in zip(parts[1::2], parts[2::2])}
    self.title = title
    self.passed = self.failed = 0

  def expect(self, step, what, holds):
    if holds:
      self.passed += 1
      return
    self.failed += 1
    print(f'{self.title}: trace, {step}: {what}')
    print('\n'.join(f'  | {line[:400]}' for line in self.outputs.get(step, [])[:60]))

  def lines(self, step, pattern):
    return [match for line in self.outputs.get(step, [])
            if (match := re.fullmatch(pattern, line))]

  def expect_line(self, step, pattern, count=None):
    found = len(self.lines(step, pattern))
    self.expect(step, f'{found} lines are {pattern}', found if count is None else found == count)

  def expect_calls(self, step, but=0):
    """Every line of a call has one of the shape, and no more than `but` have a note."""
    calls = [line for line in self.outputs.get(step, []) if re.match(r'[a-z_]+(\.\w+)?\(', line)]
    shape = r'[a-z_]+(\.\w+)?\(.*\) = (-1 E[A-Z0-9]+ \(.*\)|\d+)( /\* .* \*/)?'
    wrong = [line for line in calls if not re.fullmatch(shape, line)]
    noted = [line for line in calls if line.endswith(' */')]
    self.expect(step, f'{len(calls)} calls, of which are no lines of calls: {wrong[:3]}',
                calls and not wrong)
    self.expect(step, f'notes behind: {noted[:5]}', len(noted) <= but)
    return calls


# Of libxendevicemodel, which asks whether the device knows the request.
PROBES = 1


def check(text, title):
  """How many held, and how many did not; those are printed."""
  checks = Checks(text, title)
  calls = checks.expect_calls('create', PROBES)
  created = checks.lines('create', r'domctl\.createdomain\(\{domain=65535 => (\d+), .*\}\) = 0')
  ids = [line for line in checks.outputs.get('create', []) if line.isdigit()]
  checks.expect('create', 'the id is what xl says', created and [created[0][1]] == ids)
  domain = ids[0] if ids else '?'
  # In this order, each of this domain.
  story = [r'domctl\.createdomain\(.*', rf'domctl\.max_vcpus\(\{{domain={domain}, max=2\}}\) = 0',
           rf'domctl\.max_mem\(\{{domain={domain}, max_memkb=\d+\}}\) = 0',
           rf'memory_op\.populate_physmap\(\{{.*, domid={domain}\}}\) = \d+',
           rf'privcmd\.mmapbatch_v2\(\{{num=\d+, dom={domain}, addr=0x\w+, arr=\[0x.*\], '
           r'err=\[0.*\]\}\) = 0',
           rf'mmuext_op\(\{{cmd=MMUEXT_PIN_L4_TABLE, .*foreigndom={domain}\) = 0',
           rf'domctl\.setvcpucontext\(\{{domain={domain}, vcpu=0, ctxt=\{{.*']
  at = 0
  for step in story:
    while at < len(calls) and not re.fullmatch(step, calls[at]):
      at += 1
    checks.expect('create', f'no call in its place is {step}', at < len(calls))
  pages = sum(int(match[2]) << int(match[1]) for match in checks.lines(
      'create', r'memory_op\.populate_physmap\(\{.*extent_order=(\d+), .*\}\) = (\d+)'))
  checks.expect('create', f'{pages} pages were populated', pages == 64 << 8)

  checks.expect_line('list', r'sysctl\.getdomaininfolist\(\{first_domain=0, max_domains=1024, '
                     r'buffer=\[\{domain=0, flags=XEN_DOMINF_running.*\{domain=' + domain +
                     r', flags=XEN_DOMINF_paused.*\], num_domains=2\}\) = 0', 0)
  checks.expect('list', 'all of them are of sysctl and failed',
                checks.lines('list', r'(sysctl\.|Name|Domain-0|pv-guest).*') and not checks.lines(
                    'list', r'(domctl|privcmd)\..* = 0'))
  checks.expect_line('named', rf'domctl\.getvcpuinfo\(\{{domain={domain}<pv-guest>, vcpu=0, .*', 1)
  checks.expect_line('counted', r' *[\d.]+ +[\d.]+ +\d+ +2 +sysctl\.getdomaininfolist')
  checks.expect_line('counted', r'100\.00 .* total', 1)

  # What the program prints of it is what the trace says.
  shown = checks.lines('topology', r'CPU(\d)\s+(\d+)\s+(\d+)\s+(\d+)')
  cores = ', '.join(f'{{core={m[2]}, socket={m[3]}, node={m[4]}}}' for m in shown)
  checks.expect_calls('topology', PROBES)
  checks.expect_line('topology', r'sysctl\.cputopoinfo\(\{num_cpus=' + str(len(shown)) +
                     r', cputopo=\[' + re.escape(cores) + r'\]\}\) = 0', 1)

  for number in range(1, 6):
    checks.expect_line('static', rf'domctl\.pausedomain\(\{{domain={number}\}}\) = '
                       r'(0|-1 ESRCH \(No such process\))', 1)
  checks.expect_line('static', 'exit code 3', 1)
  for number in range(10, 14):
    checks.expect_line('threads', rf'domctl\.pausedomain\(\{{domain={number}\}}\) = -1 ESRCH .*', 50)
  checks.expect_line('setuid', 'user 1000', 1)
  checks.expect_line('setuid', r'domctl\.pausedomain\(\{domain=1\}\) = (0|-1 ESRCH .*)', 1)
  checks.expect_line('setuid', 'exit code 3', 1)
  recorded = checks.expect_calls('recorded', PROBES)
  checks.expect('recorded', 'the list is among them',
                any(line.startswith('sysctl.getdomaininfolist') for line in recorded))

  numbers = [int(line) for line in checks.outputs.get('daemon', []) if line.isdigit()]
  second = numbers[0] if numbers else '?'
  checks.expect_line('daemon', rf'\S+ \d+<xenstored> domctl\.getdomaininfo\(\{{domain={second}, .*'
                     r'\}\) = 0 <[\d.]+>')
  checks.expect_line('daemon', r'pvh-guest +\d+ +64 .*')
  checks.expect_line('daemon', r'xencomm trace: process \d+ (attached|detached)', 2)

  checks.expect_calls('destroyed', 2 * PROBES)
  checks.expect_line('destroyed', rf'domctl\.destroydomain\(\{{domain={domain}\}}\) = 0', 1)
  checks.expect_line('destroyed', r'Domain-0 .*', 1)
  # Why it cannot be created is in it.
  checks.expect_line('failing', 'exit code [^0].*', 1)
  checks.expect_line('failing', r'domctl\.createdomain\(\{.*max_vcpus=1000, .*\}\) = -1 EINVAL .*', 1)
  checks.expect_line('replayed', r'\d\d\d calls were made again, none was answered otherwise\.', 2)
  checks.expect_line('replayed', 'exit code 0', 2)
  checks.expect_line('replayed', r'Not made: \d+ of (?!dm_op|privcmd\.unimplemented).*', 0)
  checks.expect_line('replayed', r'(Domain-0|pv-guest|pvh-guest|\(null\)) .*', 5)
  checks.expect_line('half of it', r'Not made: 1 of domctl\.pausedomain: domain \d+ was there before '
                     r'the recording\.', 1)
  checks.expect_line('half of it', r'\d+ calls were made again, none was answered otherwise\.', 1)
  if '32 bits' in checks.outputs and any('not found' not in line and 'No such file' not in line
                                         for line in checks.outputs['32 bits'][:1]):
    checks.expect_line('32 bits', r'xencomm trace: process \d+ is a program of 32 bits now: its '
                       r'calls are not shown', 1)
    checks.expect_line('32 bits', 'exit code 0', 1)
  return checks.passed, checks.failed
