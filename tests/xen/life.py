"""A domain's whole life by Xen's own programs: what is typed, and what is printed. The same on a
machine and on real Xen, where the guest runs, line by line in shape but for the numbers."""

import re

KINDS = ['pv', 'pvh']


def configuration(kind, kernel):
  return (f'name = "{kind}-guest"\ntype = "{kind}"\nmemory = 64\nvcpus = 2\n'
          f'kernel = "{kernel}"\n')


DOMAIN0 = r'Domain-0 +0 +\d+ +\d+ +r----- +\d+\.\d'
HEAD = r'Name +ID +Mem VCPUs\s+State\s+Time\(s\)'


def guest(state, memory=64):
  return rf'NAME +\d+ +{memory} +VCPUS +{state} +\d+\.\d'


# It starts xenconsole, from where that is installed.
CONSOLE = 'timeout 1 xl console NAME'

# A command and the lines that it prints, and its exit code where that is not 0, as regular
# expressions; NAME and ID are the domain's; of its two processors one is up (VCPUS), and the
# SECOND is not, unless it has processes. `+` in front: this line, and any others around it.
COMMANDS = [
    ('xl create -p NAME.cfg', [r'Parsing config from .*NAME\.cfg']),
    ('xl list', [HEAD, DOMAIN0, guest('--p---')]),
    ('xl domid NAME', [r'\d+']),
    ('xl vcpu-list NAME', [r'Name +ID +VCPU +CPU State +Time\(s\) Affinity \(Hard / Soft\)',
                           r'NAME +\d+ +0 +\d+ +--[-p] +\d+\.\d +all / all',
                           r'NAME +\d+ +1 +SECOND +\d+\.\d +all / all']),
    ('xl vcpu-pin NAME 0 1', []),
    ('xl vcpu-list NAME', [r'Name .*', r'NAME +\d+ +0 +\d+ +--[-p] +\d+\.\d +1 / all',
                           r'NAME +\d+ +1 .*']),
    ('xl sched-credit2 -d NAME -w 512', []),
    ('xl sched-credit2', [r'Cpupool Pool-0: ratelimit=1000us', r'Name +ID Weight +Cap',
                          r'Domain-0 +0 +256 +0', r'NAME +\d+ +512 +0']),
    ('xl cpupool-list', [r'Name +CPUs +Sched +Active +Domain count',
                         r'Pool-0 +\d+ +credit2 +y +2']),
    ('xl mem-set NAME 48', []),
    ('xl list -l NAME', ['+ +"max_memkb": 65536,', '+ +"target_memkb": 49152,']),
    ('xl mem-max NAME 80', []),
    ('xl mem-set NAME 72', []),
    ('xl list -l NAME', ['+ +"max_memkb": 81920,', '+ +"target_memkb": 73728,']),
    # Its own part, to give pages back and to take some, is what its kernel would do.
    ('xl list NAME', [HEAD, guest('--p---')]),
    ('xl vcpu-set NAME 1', []),
    ('xl rename NAME other', []),
    ('xl list other', [HEAD, guest('--p---').replace('NAME', 'other')]),
    ('xl rename other NAME', []),
    ('xl uptime NAME', [r'Name +ID Uptime', r'NAME +\d+ +\d+:\d\d:\d\d']),
    # Of the processor that is down: it would be the end of one that runs.
    ('xl trigger NAME nmi 1', []),
    ('xl sysrq NAME h', []),
    # The guest prints nothing, and it is waited for.
    ('timeout 1 xenconsole ID', ['exit code 124']),
    (CONSOLE, ['exit code 124']),
    ('xl unpause NAME', []),
    ('xl list NAME', [HEAD, guest('[-r][-b]----')]),
    ('xl pause NAME', []),
    ('xl list NAME', [HEAD, guest('[-r-][-b]p---')]),
    ('xl list -l NAME', ['+ +"name": "NAME",']),
    ('xentop -b -i 1', [r' +NAME +STATE .*', r' +Domain-0 .*', r' +NAME .*']),
    ('xenstore-read /local/domain/0/name', ['Domain-0']),
    ('xl info', [r'+xen_scheduler +: credit2', r'+nr_cpus +: \d+', r'+free_cpus +: 0']),
    ('xl debug-keys h', []),
    ('xl dmesg -c', [r"+\(XEN\) 'h' pressed.*"]),
    ('xl dmesg', []),
    ('xen-hptool mem-status 0x8000', ['Querying MEMORY mfn 8000 status',
                                      r'Memory Status 0: \[ PAGE_ONLINED \]']),
    ('xen-hptool mem-status 0x10000000', ['Querying MEMORY mfn 10000000 status', 'exit code 1']),
    ('xen-livepatch list', ['Nothing to list']),
    ('xen-livepatch apply nothing', ['exit code 1']),
    ('timeout 1 xen-lowmemd', ['exit code 124']),
    ('xl destroy NAME', []),
    ('xl list', [HEAD, DOMAIN0]),
    ('xenstore-list /local/domain', ['0']),
]
# How many of it there are before SIGTERM, and then.
WATCHDOGS = ['1', '0']
# What must be there.
PROGRAMS = {'xenwatchdogd'} | {
    name for words, _ in COMMANDS for name in re.findall(r'^\S+|(?<=timeout 1 )\S+', words)}


def difference(lines, patterns, name, has_processes=False):
  """What is not as it should be, or None."""
  vcpus, second = ('2', '1 +---') if has_processes else ('1', '- +--p')
  patterns = [pattern.replace('NAME', name).replace('VCPUS', vcpus).replace('SECOND', second)
              for pattern in patterns]
  if any(pattern.startswith('+') for pattern in patterns):
    missing = [pattern for pattern in patterns
               if not any(re.fullmatch(pattern[1:], line) for line in lines)]
    return f'no line {missing[0]!r}' if missing else None
  if len(lines) != len(patterns):
    return f'{len(lines)} lines, expected {len(patterns)}'
  for line, pattern in zip(lines, patterns):
    # xentop's head has a column of that name.
    if not re.fullmatch(pattern, line) and not re.fullmatch(pattern.replace(name, 'NAME'), line):
      return f'{line!r} is not {pattern!r}'
  return None


def lines_of(output, errors, code):
  """What counts of what a command printed, and of how it ended."""
  # xl says there what it reads.
  parsing = [line for line in errors.splitlines() if line.startswith('Parsing config')]
  return ([line for line in output.splitlines() if line.strip()] + parsing +
          ([f'exit code {code}'] if code != 0 else []))


def shell():
  """Of a shell: all kinds of domains' lives, where real Xen's domain 0 has just come up. What
  parse() reads goes into /life."""
  steps = []
  for domain, kind in enumerate(KINDS, 1):
    for words, _ in COMMANDS:
      words = words.replace('NAME', f'{kind}-guest').replace('ID', str(domain))
      # busybox's own, which ends with another code, has precedence.
      words = words.replace('timeout', '/bin/timeout')
      # Into files: what Xen prints meanwhile would come in between.
      steps.append(f"""echo '$ {words}' >>/life
{words} >/output 2>/errors </dev/null
code=$?
{{ cat /output; echo; echo errors:; cat /errors; echo; echo "ended: $code"; }} >>/life""")
      if words.startswith('xl destroy'):
        # It is there, without a name, until the daemons have let go of its pages.
        steps.append("for i in 1 2 3 4 5 6 7 8 9; do "
                     "if xl list | grep -q '(null)'; then sleep 1; fi; done")
  # It goes on in the background, until SIGTERM ends it.
  steps.append('''{ echo '$ xenwatchdogd 30 5'
xenwatchdogd 30 5 2>/errors </dev/null
code=$?
sleep 1
pidof xenwatchdogd | wc -w
kill $(pidof xenwatchdogd)
sleep 1
pidof xenwatchdogd | wc -w
echo errors:; cat /errors; echo; echo "ended: $code"; } >>/life''')
  return '\n'.join(steps)


def parse(text):
  """What counts of each command, in their order, for each kind of domain, and of the watchdog."""
  found = re.findall(r'^\$ .*\n((?:.*\n)*?)errors:\n((?:.*\n)*?)ended: (\d+)$', text,
                     flags=re.MULTILINE)
  lives = [lines_of(output, errors, int(code)) for output, errors, code in found]
  return [lives[i:i + len(COMMANDS)] for i in range(0, len(lives), len(COMMANDS))]


def differences(text, title):
  """Prints what real Xen answered otherwise; answers how many commands there are, and how many of
  which that is so."""
  printed = parse(text)
  found = 0
  for index, kind in enumerate(KINDS):
    for at, (words, patterns) in enumerate(COMMANDS):
      lines = printed[index][at] if index < len(printed) and at < len(printed[index]) else None
      problem = 'was not walked' if lines is None else difference(lines, patterns, f'{kind}-guest')
      if problem is not None:
        print(f'{title}: {kind}: {words}: {problem}', *(lines or []), sep='\n  ')
        found += 1
  watchdogs = printed[len(KINDS)] if len(printed) > len(KINDS) else 'none'
  if watchdogs != [WATCHDOGS]:
    print(f'{title}: xenwatchdogd: {watchdogs}')
    found += 1
  return len(KINDS) * len(COMMANDS) + 1, found
