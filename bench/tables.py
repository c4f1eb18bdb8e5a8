"""The report as text: first what a reader asks, what a call costs by each way and whether that is
worth it; then what it is made of. What was not measured has no table."""

import statistics

SPACES = {
    'direct': 'direct pointer',
    'pages': 'memcpy by pages',
    'registered': 'registered region',
    'stateless': 'stateless region',
    'xcom': 'XCOM descriptor',
    'walk4': '4-level walk',
    'walk5': '5-level walk',
}
ALLOCATORS = {
    'arena': 'Arena',
    'arena-cleared': 'Arena, cleared',
    'memset': 'memset',
    'libxencall': 'libxencall (Debian)',
}
LIBRARIES = {
    'stock': 'libxencall (Debian)',
    'cached': 'one that caches 1 to 4 pages',
    'ours': 'ours',
}
HOSTS = {
    'embedded': 'in process',
    'machine': 'machine, ours',
    'machine-1': 'on one processor',
    'devices': 'machine, its devices',
    'devices-1': 'on one processor',
}
MEMORY = {
    'plain': 'plain memory',
    'stock': "Debian's libraries",
    'ours': 'ours',
}
HOW = {'one-by-one': 'one by one', 'overlapped': 'overlapped'}
PAGE = 4096


def human(size):
  for unit, name in ((1 << 30, 'GiB'), (1 << 20, 'MiB'), (1 << 10, 'KiB')):
    if size >= unit and size % unit == 0:
      return f'{size // unit} {name}'
  return f'{size} B'


def time_of(nanoseconds):
  for limit, unit, name in ((1e4, 1, 'ns'), (1e7, 1e3, 'µs')):
    if nanoseconds < limit:
      return f'{nanoseconds / unit:.1f} {name}' if unit == 1 else f'{nanoseconds / unit:.0f} {name}'
  return f'{nanoseconds / 1e6:.0f} ms'


def times(ratio):
  if ratio < 0.1:
    return f'×1/{1 / ratio:.0f}' if ratio > 0 else '×0'
  return f'×{ratio:.2f}' if ratio < 10 else f'×{ratio:.0f}'


def table(title, columns, lines):
  if not lines:
    return
  print(f'\n{title}\n')
  widths = [max(len(line[i]) for line in [columns, *lines]) for i in range(len(columns))]
  for line in [columns, *lines]:
    first, *others = (cell.ljust(width) if i == 0 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(line, widths)))
    print('  ' + '  '.join([first, *others]).rstrip())


def grid(title, rows, label, part, names, cell):
  """A line for each label that rows have, a column for each value of a part; those in `names` come
  first, in their order. A cell is made of its row and all of its line."""
  present = list(dict.fromkeys(row[part] for row in rows))
  columns = [name for name in names if name in present]
  columns += [name for name in present if name not in names]
  lines = {}
  for row in rows:
    lines.setdefault(label(row), {})[row[part]] = row
  table(title, ['', *(str(names.get(name, name)) for name in columns)],
        [[key, *(cell(line[name], line) if name in line else '' for name in columns)]
         for key, line in lines.items()])


def time_and_ratio(row, _):
  if 'nanoseconds' not in row:
    return ''
  text = time_of(row['nanoseconds'])
  ratio = row.get('ratio')
  return text if ratio is None or 'direct' in row['name'].split('/') else f'{text} {times(ratio)}'


def time_alone(row, _):
  return time_of(row['nanoseconds']) if 'nanoseconds' in row else ''


def instructions(row, _):
  return f"{row['instructions']:.0f}" if row.get('instructions') is not None else ''


def against(base, what):
  """A cell: the row's `what` as a multiple of that of `base` in its line."""
  def cell(row, line):
    known = row.get(what) and line.get(base, {}).get(what)
    return times(row[what] / known) if known else ''
  return cell


def counted(rows):
  return [row for row in rows if row.get('instructions') is not None]


def how_ratios_lie(found):
  return [times(pick(found)) for pick in (min, statistics.median, max)]


def call_label(row):
  return f"{row['call']} {row['count']:,}"


def call_alone(row):
  return row['call']


def ratios(rows, line, part, what, one, base):
  """Of all lines that have both: one's value as a multiple of the base's."""
  known = {(line(row), row[part]): row[what] for row in rows if row.get(what)}
  return [value / known[key, base] for (key, name), value in known.items()
          if name == one and (key, base) in known]


def print_worth(of):
  lines = []

  def add(name, found, base):
    if found:
      lines.append([name, *how_ratios_lie(found), base])

  for base in ('direct', 'walk4'):
    for way, label in SPACES.items():
      if way not in (base, 'pages') and (base == 'direct' or way == 'registered'):
        add(f'whole calls by {label}',
            ratios(of('call'), call_label, 'way', 'nanoseconds', way, base), f'by {SPACES[base]}')
  for base in ('stock', 'cached'):
    for library, label in LIBRARIES.items():
      if library != base and (base == 'stock' or library == 'ours'):
        add(f"libxenctrl's calls, the library's part: {label}",
            ratios(of('xenctrl'), call_alone, 'library', 'own_nanoseconds', library, base),
            LIBRARIES[base])
  table('what a call costs: time, as a multiple', ['', 'least', 'median', 'most', 'of the time'],
        lines)


def print_calls(of):
  rows = of('call')
  grid('whole calls: time, and as a multiple of the direct pointer', rows, call_label, 'way',
       SPACES, time_and_ratio)
  ratio = against('direct', 'instructions')
  grid('whole calls: instructions, and as a multiple of the direct pointer', counted(rows),
       call_label, 'way', SPACES,
       lambda row, line: instructions(row, line) if row['way'] == 'direct' else
       f'{instructions(row, line)} {ratio(row, line)}')


def beside_stock(show, what):
  """A cell: a value, and what multiple it is of Debian's library's."""
  ratio = against('stock', what)
  return lambda row, line: show(row, line) if row['library'] == 'stock' else (
      f'{show(row, line)} {ratio(row, line)}')


def print_libraries(of):
  rows = of('xenctrl')
  grid("through libxenctrl: a whole call's time, the hypercall answered at once",
       [row for row in rows if 'nanoseconds' in row], call_alone, 'library', LIBRARIES, time_alone)
  own = [row | {'nanoseconds': row['own_nanoseconds']} for row in rows if 'own_nanoseconds' in row]
  grid("through libxenctrl: the library's own part, time with the kernel's work", own, call_alone,
       'library', LIBRARIES, beside_stock(time_alone, 'nanoseconds'))
  grid("through libxenctrl: the library's own part, user instructions + system calls + page faults",
       counted(rows), call_alone, 'library', LIBRARIES,
       lambda row, line: f"{instructions(row, line)} + {row.get('system_calls', 0):.0f}"
                         f" + {row.get('faults', 0):.0f}")
  grid("through libxenctrl: the library's own part, instructions with the kernel's",
       [row | {'instructions': row['own_instructions']} for row in rows
        if 'own_instructions' in row],
       call_alone, 'library', LIBRARIES, beside_stock(instructions, 'instructions'))


def print_hosts(of):
  grid("through libxenctrl: a whole call's time, answered by this project's hypervisor", of('host'),
       call_alone, 'host', HOSTS, time_alone)


def print_sharing(of):
  def beside_plain(show, what):
    ratio = against('plain', what)
    return lambda row, line: show(row, line) if row['memory'] == 'plain' else (
        f'{show(row, line)} {ratio(row, line)}')

  rows = of('sharing')
  grid("other domains' memory: time on a machine, and as a multiple of that of plain memory",
       [row for row in rows if 'nanoseconds' in row], lambda row: row['what'], 'memory', MEMORY,
       beside_plain(time_alone, 'nanoseconds'))
  grid("other domains' memory: instructions on real Xen, with the kernel's and Xen's",
       counted(rows), lambda row: row['what'], 'memory', MEMORY,
       beside_plain(instructions, 'instructions'))


def print_machines(of):
  grid('bare-metal machines: instructions of a call, all of the guest\'s and the hypervisor\'s',
       of('machine'), lambda row: f"{row['machine']}, {row['space']}", 'call', {}, instructions)
  rows = of('xen')
  grid("real Xen, through libxenctrl: the library's own part, instructions with the kernel's",
       rows, call_alone, 'library', LIBRARIES, beside_stock(instructions, 'instructions'))
  grid('real Xen, through libxenctrl: instructions of a whole call',
       [row | {'instructions': row['whole_instructions']} for row in rows], call_alone, 'library',
       LIBRARIES, instructions)


def print_copies(of):
  def size(row):
    return human(row['bytes'])

  for direction in ('from', 'to'):
    rows = [row for row in of('copy') if row['direction'] == direction]
    grid(f'copy {direction} a guest: time, and as a multiple of the direct pointer', rows, size,
         'space', SPACES, time_and_ratio)
    long = [row for row in rows if row['bytes'] > PAGE]
    if any(row['space'] == 'pages' for row in long):
      grid(f'copy {direction} a guest, more than a page: as a multiple of a memcpy for each page',
           [row for row in long if row['space'] != 'direct'], size, 'space', SPACES,
           lambda row, line: '1' if row['space'] == 'pages' else
           against('pages', 'nanoseconds')(row, line))
  for direction in ('from', 'to'):
    grid(f'one structure {direction} a guest through a typed handle',
         [row for row in of('element') if row['direction'] == direction], size, 'space', SPACES,
         time_and_ratio)
  grid('one structure from another page each time, 8 MiB in all', of('spread'), size, 'space',
       SPACES, time_and_ratio)
  grid('instructions, one structure through a typed handle', counted(of('element')),
       lambda row: f"{row['direction']} {human(row['bytes'])}", 'space', SPACES, instructions)
  grid('many small pieces at once', of('list'), lambda row: f"{row['count']:,}", 'how', HOW,
       lambda row, line: time_alone(row, line) if row['how'] == 'one-by-one' else
       f"{time_alone(row, line)} {against('one-by-one', 'nanoseconds')(row, line)}")


def value_of(row, kind):
  return human(row['value']) if 'bytes' in row.get(kind, '') or kind == 'what' else (
      f"{row['value']:,}")


def print_rest(rows, of):
  def alone(row):
    return [time_alone(row, None), instructions(row, None)]

  table('entering the hypervisor', ['', 'time', 'instructions'],
        [[row['what'], *alone(row)] for row in of('enter')])
  grid('what a call costs as things grow', of('scale'),
       lambda row: f"{row['axis']} {value_of(row, 'axis')}", 'way', SPACES, time_alone)
  facts = sorted({key for row in of('region') for key in row if key.endswith('_per_page')})
  table('a region by its size', ['', 'time', 'instructions', *(key.replace('_', ' ')
                                                             for key in facts)],
        [[f"{row['what']}, {value_of(row, 'what')}", *alone(row),
          *(f'{row[key]:.1f}' if key in row else '' for key in facts)] for row in of('region')])
  grid('allocate and free a buffer', of('allocate'), lambda row: human(row['bytes']), 'allocator',
       ALLOCATORS, time_alone)
  grid('allocate and free a page in several threads, for each turn', of('allocate-threads'),
       lambda row: f"{row['threads']} threads", 'allocator', ALLOCATORS, time_alone)
  table('audit of a call', ['', 'time', 'instructions'],
        [[row['call'], *alone(row)] for row in of('audit')])
  table('others', ['', 'time', 'instructions'],
        [[row['name'], *alone(row)] for row in rows if len(row.keys() - KNOWN) == 0])


# Keys of a row whose name has no parts that are known here.
KNOWN = {'name', 'group', 'nanoseconds', 'quartiles', 'instructions'}


def print_report(rows):
  def of(group):
    return [row for row in rows if row['group'] == group]

  print_worth(of)
  print_calls(of)
  print_libraries(of)
  print_hosts(of)
  print_sharing(of)
  print_machines(of)
  print_copies(of)
  print_rest(rows, of)
