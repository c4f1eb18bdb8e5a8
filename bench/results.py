"""Rows of the report: what the benchmark programs printed, by the names of their rows.

A row is a dictionary: its name, its group and the other parts of its name, and what is known of it:
`nanoseconds`, the median of its repetitions, and `quartiles` of them; `instructions`; and whatever
else its program counted.
"""

import re
import statistics

# A row's name is its group and these, with slashes between.
PARTS = {
    'copy': ['direction', 'space', 'bytes'],
    'element': ['direction', 'space', 'bytes'],
    'spread': ['direction', 'space', 'bytes'],
    'list': ['how', 'count'],
    'call': ['call', 'count', 'way'],
    'enter': ['what'],
    'scale': ['axis', 'value', 'way'],
    'region': ['what', 'value'],
    'allocate': ['allocator', 'bytes'],
    'allocate-threads': ['allocator', 'threads'],
    'audit': ['call'],
    'xenctrl': ['call', 'library'],
    'host': ['call', 'host'],
    'sharing': ['what', 'memory'],
    'machine': ['machine', 'space', 'call'],
    'xen': ['call', 'library'],
}
NUMBERS = {'bytes', 'count', 'value', 'threads'}

TURNS = 96  # of a counted row, unless its name says another number behind an @
# What Google Benchmark puts behind a name when a row has threads or a time of its own.
SUFFIX = re.compile(r'(/(threads:\d+|real_time|process_time|manual_time|min_time:[^/]+'
                    r'|iterations:\d+|repeats:\d+))+$')
# What Google Benchmark says of every row. Anything else was counted by the program.
USUAL = {'family_index', 'per_family_instance_index', 'repetitions', 'repetition_index', 'threads',
         'iterations', 'real_time', 'cpu_time'}


def row_of(name, **known):
  """A row by its name. Of a group that is not known here, the parts have no names."""
  group, *parts = name.split('/')
  row = {'name': name, 'group': group}
  if len(parts) == len(PARTS.get(group, [])):
    for part, value in zip(PARTS[group], parts):
      row[part] = int(value) if part in NUMBERS and value.isdigit() else value
  return row | known


def of_samples(samples):
  """What is known of a time by its repetitions."""
  quartiles = statistics.quantiles(samples, method='inclusive') if len(samples) > 1 else samples * 3
  return {'nanoseconds': quartiles[1], 'quartiles': [quartiles[0], quartiles[2]]}


def read_times(data):
  """Google Benchmark's output: name → what is known, in the order in which rows were added."""
  samples, facts = {}, {}
  for row in sorted(data['benchmarks'], key=lambda row: row.get('family_index', 0)):
    if row['run_type'] == 'iteration':
      name = SUFFIX.sub('', row['run_name'])
      samples.setdefault(name, []).append(row['cpu_time'])
      facts[name] = {key: value for key, value in row.items()
                     if key not in USUAL and isinstance(value, (int, float))}
  return {name: of_samples(times) | facts[name] for name, times in samples.items()}


def read_counts(text, behind=''):
  """Callgrind's dumps: name → what is known, of one turn. `behind` is added to the names."""
  counts, events, name = {}, [], None
  for line in text.splitlines():
    key, _, rest = line.partition(': ')
    if key == 'desc' and rest.startswith('Trigger: '):
      request = re.match(r'Trigger: Client Request: (.+?)(?:@(\d+))?$', rest)
      name = request and request[1] + behind
      turns = int(request[2] or TURNS) if request else None
    elif key == 'events':
      events = rest.split()
    elif key == 'summary' and name:
      total = dict(zip(events, map(int, rest.split())))  # zeros at the end are left out
      known = {'instructions': round(total['Ir'] / turns, 1)}
      if 'sysCount' in events:
        known['system_calls'] = round(total.get('sysCount', 0) / turns, 2)
      counts.setdefault(name, known)
  return counts


XENCTRL = re.compile(r'(\S.*): ([\d.]+) ns, ([\d.]+) ticks, ([\d.]+) ticks own, ([\d.]+) faults')


def read_xenctrl(outputs):
  """xenctrl_bench's outputs, each with its library: name → what is known. The library's own part
  beside the whole."""
  found = {}
  for library, text in outputs:
    for name, *numbers in XENCTRL.findall(text):
      found.setdefault(f'{name}/{library}', []).append([float(number) for number in numbers])
  times = {}
  for name, runs in found.items():
    own = [whole * own_ticks / ticks for whole, ticks, own_ticks, _ in runs]
    times[name] = of_samples([run[0] for run in runs]) | {
        'own_nanoseconds': round(statistics.median(own), 1),
        'faults': statistics.median(run[3] for run in runs),
    }
  return times


def read_hosts(outputs):
  """The same with whichever hypervisor answered, of whole calls alone: the waiting for an answer is
  the library's own part, too."""
  samples = {}
  for host, text in outputs:
    for name, nanoseconds, *_ in XENCTRL.findall(text):
      name = f'{name.replace("xenctrl", "host", 1)}/{host}'
      samples.setdefault(name, []).append(float(nanoseconds))
  return {name: of_samples(times) for name, times in samples.items()}


SHARING = re.compile(r'(sharing/\S.*): ([\d.]+) ns, ([\d.]+) ticks')


def read_sharing(outputs):
  """sharing_bench's outputs on a machine: name → what is known."""
  samples = {}
  for text in outputs:
    for name, nanoseconds, _ in SHARING.findall(text):
      samples.setdefault(name, []).append(float(nanoseconds))
  return {name: of_samples(times) for name, times in samples.items()}


def read_sharing_xen(text):
  """The same of one run on real Xen, where ticks are instructions, of the kernel and Xen, too."""
  return {name: {'instructions': float(ticks)} for name, _, ticks in SHARING.findall(text)}


def read_xen(library, text):
  """The same of one run on real Xen, on a machine whose ticks are instructions. They count the
  kernel's, too."""
  return {f'{name.replace("xenctrl", "xen", 1)}/{library}':
              {'instructions': float(own), 'whole_instructions': float(whole)}
          for name, _, whole, own, _ in XENCTRL.findall(text)}


def read_xen_null(library, text):
  """The same where hypercalls are answered at once: of the rows that are timed here."""
  return {f'{name}/{library}': {'own_instructions': float(own)}
          for name, _, _, own, _ in XENCTRL.findall(text)}


def read_machines(text):
  """The figures of the bare-metal machines: name → what is known."""
  figures = re.findall(r'^(\S+): (\S+) (\S+\.\S+) (\d+)$', text, re.MULTILINE)
  return {f'machine/{machine}/{space}/{call}': {'instructions': float(count)}
          for machine, space, call, count in figures}


def rows_of(*tables):
  """The rows of tables by name; what several know of one name comes together."""
  known = {}
  for table in tables:
    for name, facts in table.items():
      known[name] = known.get(name, {}) | facts
  return [row_of(name, **facts) for name, facts in known.items()]


def add_ratios(rows):
  """To a direct pointer's time, of the same run, where a row is of one space or way of several."""
  direct = {row['name']: row for row in rows}
  for row in rows:
    kind = 'space' if 'bytes' in row else 'way'
    if kind in row and 'nanoseconds' in row:
      base = direct.get('/'.join('direct' if part == row[kind] else part
                                 for part in row['name'].split('/')))
      if base and base.get('nanoseconds'):
        row['ratio'] = row['nanoseconds'] / base['nanoseconds']
