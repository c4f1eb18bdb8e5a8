"""What the benchmarks' report makes of the programs' output, which is made up here."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / 'bench/'))
import compare
import report
import results
import xen


def raw(rows):
  """Google Benchmark's output: names with the times of their repetitions, and what was counted."""
  lines = []
  for index, (name, times, counters) in enumerate(rows):
    for repetition, time in enumerate(times):
      lines.append({
          'name': name, 'run_name': name, 'family_index': index, 'run_type': 'iteration',
          'repetition_index': repetition, 'repetitions': len(times), 'threads': 1,
          'iterations': 1000, 'real_time': 2 * time, 'cpu_time': time, 'time_unit': 'ns',
      } | counters)
    lines.append({'run_name': name, 'run_type': 'aggregate', 'aggregate_name': 'mean',
                  'family_index': index, 'cpu_time': 0})
  return {'benchmarks': lines}


RAW = raw([
    ('copy/from/direct/8', [10, 10, 10], {}),
    ('copy/from/registered/8', [12, 11, 50], {}),
    ('copy/from/direct/8192', [100, 100, 100], {}),
    ('copy/from/pages/8192', [200, 200, 200], {}),
    ('copy/from/registered/8192', [210, 210, 210], {}),
    ('element/to/direct/64', [1, 1, 1], {}),
    ('element/to/walk4/64', [30, 30, 30], {}),
    ('list/one-by-one/1024', [4000, 4000, 4000], {}),
    ('list/overlapped/1024', [1000, 1000, 1000], {}),
    ('call/physinfo/1/direct', [100, 100, 100], {}),
    ('call/physinfo/1/registered', [110, 110, 110], {}),
    ('call/physinfo/1/walk4', [150, 150, 150], {}),
    ('call/populate+decrease/1000000/direct', [5e8, 5e8, 5e8], {}),
    ('enter/hypercall, direct', [7, 7, 7], {}),
    ('scale/region-bytes/65536/registered', [88, 88, 88], {}),
    ('scale/region-bytes/1073741824/registered', [90, 90, 90], {}),
    ('scale/regions-over-domains/10000/registered', [90, 90, 90], {}),
    ('region/register+unregister/4096', [300, 300, 300], {'bytes_per_page': 8.25}),
    ('allocate/arena/64', [22, 22, 22], {}),
    ('allocate/memset/64', [2, 2, 2], {}),
    ('allocate-threads/arena/4/threads:4', [33, 33, 33], {}),
    ('audit/multicall of 4', [240, 240, 240], {}),
    ('novelty/1', [5, 5, 5], {}),
])

CALLGRIND = '''# callgrind format
desc: Trigger: Client Request: call/physinfo/1/direct
events: Ir sysCount sysTime
summary: 67200
fl=(1)
0 67200
totals: 67220
desc: Trigger: Client Request: call/physinfo/1/registered@10
events: Ir sysCount sysTime
summary: 8000
desc: Trigger: Client Request: audit/multicall of 4
events: Ir sysCount sysTime
summary: 471168
desc: Trigger: Program termination
events: Ir sysCount sysTime
summary: 4550 9
'''

XENCTRL_CALLGRIND = '''desc: Trigger: Client Request: xenctrl/readconsolering of 64 KiB
events: Ir sysCount sysTime
summary: 471456 192 7
'''

XENCTRL = [
    ('stock', 'xenctrl/readconsolering of 64 KiB: 80000.0 ns, 200000.0 ticks, 150000.0 ticks own, '
              '17.00 faults\n'),
    ('ours', 'xenctrl/readconsolering of 64 KiB: 3000.0 ns, 6000.0 ticks, 2000.0 ticks own, '
             '0.00 faults\n'),
]

HOSTS = [('embedded', 'xenctrl/version: 200.0 ns, 500.0 ticks, 300.0 ticks own, 0.00 faults\n'),
         ('devices', 'xenctrl/version: 9000.0 ns, 22500.0 ticks, 100.0 ticks own, 0.00 faults\n'),
         ('devices', 'xenctrl/version: 9200.0 ns, 23000.0 ticks, 100.0 ticks own, 0.00 faults\n')]

SHARING = [''.join(f'sharing/map 32 grants/{memory}: {time}.0 ns, {ticks}.0 ticks\n'
                    for memory, time, ticks in rows)
           for rows in ([('plain', 20000, 52000), ('ours', 300000, 780000)],
                        [('plain', 22000, 57000), ('ours', 330000, 860000)])]
SHARING_XEN = ('sharing/map 32 grants/plain: 900.0 ns, 1000.0 ticks\n\n(XEN) hello\n'
               'sharing/map 32 grants/stock: 700.0 ns, 800.0 ticks\n')
VCHAN_XEN = 'sharing/send 1 MiB/stock: 500.0 ns, 600.0 ticks\n'

MACHINES = '''x86_64-4level: raw xen_version.version 300
x86_64-4level: raw sysctl.getdomaininfolist 9000
powernv9-be-4k: skipped: its image was not built: no cross compiler
'''


def made_up_rows():
  return results.rows_of(
      results.read_times(RAW), results.read_xenctrl(XENCTRL), results.read_counts(CALLGRIND),
      results.read_counts(XENCTRL_CALLGRIND, '/stock'),
      results.read_counts(XENCTRL_CALLGRIND.replace('471456 192 7', '420288'), '/ours'),
      results.read_machines(MACHINES), results.read_hosts(HOSTS), results.read_sharing(SHARING),
      results.read_sharing_xen(SHARING_XEN),
      *(read(*each) for read in (results.read_xen, results.read_xen_null) for each in XENCTRL))


def printed(function, *arguments):
  with contextlib.redirect_stdout(io.StringIO()) as output:
    function(*arguments)
  return output.getvalue()


class Publish(unittest.TestCase):

  @classmethod
  def setUpClass(cls):
    with tempfile.TemporaryDirectory() as folder:
      folder = pathlib.Path(folder)
      cls.text = printed(report.publish, made_up_rows(), {'num_cpus': 2}, folder, None)
      cls.report = json.loads((folder / 'report.json').read_text())
      cls.read_back = report.read_report(folder / 'report.json')
      cls.plots = {path.name: path.read_text() for path in folder.glob('*.svg')}
    cls.rows = {row['name']: row for row in cls.report['rows']}

  def tables(self):
    """Title → lines, each as its words."""
    found, title = {}, None
    for block in self.text.split('\n\n'):
      if block.startswith('  '):
        found[title] = [line.split() for line in block.splitlines()]
      title = block.strip()
    return found

  def test_every_row_is_kept_with_its_parts(self):
    wanted = {row['run_name'] for row in RAW['benchmarks']} | {
        'allocate-threads/arena/4', 'xenctrl/readconsolering of 64 KiB/stock',
        'xenctrl/readconsolering of 64 KiB/ours', 'xen/readconsolering of 64 KiB/stock',
        'xen/readconsolering of 64 KiB/ours', 'machine/x86_64-4level/raw/xen_version.version',
        'machine/x86_64-4level/raw/sysctl.getdomaininfolist', 'host/version/embedded',
        'host/version/devices', 'sharing/map 32 grants/plain', 'sharing/map 32 grants/stock',
        'sharing/map 32 grants/ours'}
    self.assertEqual(set(self.rows), wanted - {'allocate-threads/arena/4/threads:4'})
    self.assertEqual(self.report['machine'], {'num_cpus': 2})
    self.assertEqual(self.read_back, self.report['rows'])
    row = self.rows['copy/from/registered/8']
    self.assertEqual((row['group'], row['direction'], row['space'], row['bytes']),
                     ('copy', 'from', 'registered', 8))
    self.assertEqual((row['nanoseconds'], row['quartiles'], row['ratio']), (12, [11.5, 31], 1.2))
    self.assertEqual(self.rows['region/register+unregister/4096']['bytes_per_page'], 8.25)
    self.assertEqual(self.rows['scale/region-bytes/1073741824/registered']['value'], 1 << 30)
    self.assertEqual(self.rows['allocate-threads/arena/4']['threads'], 4)

  def test_instructions_are_of_one_turn(self):
    for name, wanted in [('call/physinfo/1/direct', 700), ('call/physinfo/1/registered', 800),
                         ('audit/multicall of 4', 4908)]:
      self.assertEqual(self.rows[name]['instructions'], wanted, name)
    self.assertNotIn('instructions', self.rows['copy/from/direct/8'])

  def test_libraries_part_is_beside_the_whole(self):
    row = self.rows['xenctrl/readconsolering of 64 KiB/stock']
    self.assertEqual((row['nanoseconds'], row['own_nanoseconds'], row['instructions'],
                      row['system_calls'], row['faults']), (80000, 60000, 4911, 2, 17))
    self.assertEqual(self.rows['xenctrl/readconsolering of 64 KiB/ours']['system_calls'], 0)

  def test_first_table_says_what_a_call_costs(self):
    first = next(iter(self.tables().items()))
    self.assertTrue(first[0].startswith('what a call costs'))
    lines = {' '.join(line) for line in first[1]}
    self.assertIn('whole calls by registered region ×1.10 ×1.10 ×1.10 by direct pointer',
                  lines)
    self.assertIn('whole calls by 4-level walk ×1.50 ×1.50 ×1.50 by direct pointer', lines)
    self.assertIn('whole calls by registered region ×0.73 ×0.73 ×0.73 by 4-level walk', lines)
    self.assertIn("libxenctrl's calls, the library's part: ours ×1/60 ×1/60 ×1/60 "
                  'libxencall (Debian)', lines)

  def test_tables_have_their_rows(self):
    tables = self.tables()
    lines = {title: [' '.join(line) for line in lines] for title, lines in tables.items()}

    def assert_line(title, wanted):
      found = [line for name, each in lines.items() if name.startswith(title) for line in each]
      self.assertIn(wanted, found, title)

    assert_line('whole calls: time', 'physinfo 1 100.0 ns 110.0 ns ×1.10 150.0 ns ×1.50')
    assert_line('whole calls: time', 'populate+decrease 1,000,000 500 ms')
    assert_line('whole calls: instructions', 'physinfo 1 700 800 ×1.14')
    assert_line("through libxenctrl: the library's own part, user",
                'readconsolering of 64 KiB 4911 + 2 + 17 4378 + 0 + 0')
    assert_line("through libxenctrl: a whole call's time, answered by", 'version 200.0 ns 9100.0 ns')
    assert_line("other domains' memory: time", 'map 32 grants 21 µs 315 µs ×15')
    assert_line("other domains' memory: instructions", 'map 32 grants 1000 800 ×0.80')
    assert_line('bare-metal machines', 'x86_64-4level, raw 300 9000')
    assert_line("through libxenctrl: the library's own part, instructions with",
                'readconsolering of 64 KiB 150000 2000 ×1/75')
    assert_line("real Xen, through libxenctrl: the library's own part, instructions with",
                'readconsolering of 64 KiB 150000 2000 ×1/75')
    assert_line('real Xen, through libxenctrl: instructions of a whole',
                'readconsolering of 64 KiB 200000 6000')
    assert_line('copy from a guest: time', '8 KiB 100.0 ns 200.0 ns ×2.00 210.0 ns ×2.10')
    assert_line('copy from a guest, more than a page', '8 KiB 1 ×1.05')
    assert_line('one structure to a guest', '64 B 1.0 ns 30.0 ns ×30')
    assert_line('many small pieces', '1,024 4000.0 ns 1000.0 ns ×0.25')
    assert_line('entering', 'hypercall, direct 7.0 ns')
    assert_line('what a call costs as', 'region-bytes 1 GiB 90.0 ns')
    assert_line('a region by its size', 'register+unregister, 4 KiB 300.0 ns 8.2')
    assert_line('allocate and free a buffer', '64 B 22.0 ns 2.0 ns')
    assert_line('allocate and free a page in', '4 threads 33.0 ns')
    assert_line('audit', 'multicall of 4 240.0 ns 4908')
    assert_line('others', 'novelty/1 5.0 ns')

  def test_plots_are_drawn(self):
    self.assertEqual(set(self.plots), {'copies.svg', 'calls.svg', 'xenctrl.svg', 'scale.svg',
                                       'allocations.svg'})
    for name, text in self.plots.items():
      self.assertIn('</svg>', text, name)

  def test_what_was_not_measured_has_no_table(self):
    with tempfile.TemporaryDirectory() as folder:
      text = printed(report.publish, [results.row_of('audit/one', nanoseconds=1.0)], {},
                     pathlib.Path(folder), None)
      self.assertEqual(list(pathlib.Path(folder).glob('*.svg')), [])
    self.assertTrue(text.startswith('\naudit of a call\n'))


class Xen(unittest.TestCase):

  def figures(self, outputs):
    class Machine:
      def __init__(self, _folder, _archive, _more, library_sets):
        self.library_sets = library_sets
        self.programs, self.programs_with_store = [], []

      def build_image(self, _build):
        return [f'{library}: {words}' for words in self.programs + self.programs_with_store
                for library in self.library_sets]

      def boot(self, image, *_options):
        parts = ''.join(f'run: {name}\n{outputs[name]}' for name in image if name in outputs)
        return f'booting\n{parts}run: end: \n'

    with unittest.mock.patch.object(xen.run, 'Machine', Machine), \
         unittest.mock.patch.object(xen.packages, 'Archive'), \
         contextlib.redirect_stdout(io.StringIO()) as output:
      found = xen.figures(pathlib.Path('build'), pathlib.Path('xen'),
                          {'stock': None, 'ours': 'own'})
    return found, output.getvalue()

  def test_programs_are_told_apart(self):
    outputs = {f'{library}: xenctrl_bench {kind}': f'{output}(XEN) hello\nended: 0\n'
               for kind in ('xen', 'null') for library, output in XENCTRL}
    outputs[f'stock: {xen.SHARING}'] = f'{SHARING_XEN}ended: 0\n'
    outputs[f'stock: {xen.VCHAN}'] = f'{VCHAN_XEN}ended: 0\n'
    found, output = self.figures(outputs)
    call = 'readconsolering of 64 KiB'
    self.assertEqual(found, {
        f'xen/{call}/stock': {'instructions': 150000, 'whole_instructions': 200000},
        f'xen/{call}/ours': {'instructions': 2000, 'whole_instructions': 6000},
        f'xenctrl/{call}/stock': {'own_instructions': 150000},
        f'xenctrl/{call}/ours': {'own_instructions': 2000},
        'sharing/map 32 grants/plain': {'instructions': 1000},
        'sharing/map 32 grants/stock': {'instructions': 800},
        'sharing/send 1 MiB/stock': {'instructions': 600}})
    self.assertEqual(output, '')

  def test_what_did_not_end_well_is_named(self):
    found, output = self.figures({'stock: xenctrl_bench xen': 'no domain\nended: 1\n'})
    self.assertEqual(found, {})
    self.assertIn('xenctrl_bench xen over stock: no domain; ended: 1\n', output)
    self.assertEqual(output.count('no figures'), 6)


class Compare(unittest.TestCase):

  def test_bounds(self):
    def time(median, low, high):
      return {'nanoseconds': median, 'quartiles': [low, high]}

    for what, old, new, key, expected in [
        ('as it was', {'instructions': 1000}, {'instructions': 1000}, 'instructions', None),
        ('one percent', {'instructions': 1000}, {'instructions': 1010}, 'instructions', None),
        ('more', {'instructions': 1000}, {'instructions': 1020}, 'instructions', 1.02),
        ('fewer', {'instructions': 1000}, {'instructions': 500}, 'instructions', 0.5),
        ('not counted before', {}, {'instructions': 5}, 'instructions', None),
        ('not counted now', {'instructions': 5}, {}, 'instructions', None),
        ('steady, little', time(100, 100, 100), time(103, 103, 103), 'nanoseconds', None),
        ('steady, more', time(100, 100, 100), time(104, 104, 104), 'nanoseconds', 1.04),
        ('within both noises', time(100, 95, 105), time(120, 110, 121), 'nanoseconds', None),
        ('beyond both noises', time(100, 95, 105), time(125, 120, 130), 'nanoseconds', 1.25),
        ('faster', time(100, 95, 105), time(50, 45, 55), 'nanoseconds', 0.5),
    ]:
      with self.subTest(what):
        bound = {'instructions': 0.01, 'nanoseconds': 0.03}[key]
        self.assertEqual(compare.change(old, new, key, bound), expected)

  def test_bound_of_all_times(self):
    for what, moves, expected in [
        ('nothing', [], 0.03), ('quiet', [0, 1, -1], 0.03), ('one changed', [1, 1, 900], 0.03),
        ('disturbed', [2, -2, 2, 50], 0.06), ('all changed', [100, 100, 100], 0.1),
    ]:
      with self.subTest(what):
        pairs = [({'nanoseconds': 100}, {'nanoseconds': 100 + move}) for move in moves]
        self.assertAlmostEqual(compare.bound_of_all(pairs), expected)

  def test_slower_and_faster_rows_are_named(self):
    old = [results.row_of('audit/a', nanoseconds=100.0, quartiles=[99.0, 101.0], instructions=500),
           results.row_of('audit/b', nanoseconds=100.0, quartiles=[99.0, 101.0], instructions=500),
           results.row_of('audit/gone', nanoseconds=1.0, quartiles=[1.0, 1.0])]
    new = [results.row_of('audit/a', nanoseconds=150.0, quartiles=[149.0, 151.0], instructions=500),
           results.row_of('audit/b', nanoseconds=100.0, quartiles=[99.0, 101.0], instructions=250)]
    text = printed(compare.print_changes, old, new)
    slower, faster = text.index('slower than before'), text.index('faster than before')
    self.assertIn('audit/a  100.0 ns  150.0 ns  +50.0 %', text[slower:faster])
    self.assertIn('audit/b  500.0 instructions  250.0 instructions  -50.0 %', text[faster:])
    self.assertIn('compared: 2 rows, 0 are new, 1 are gone', text)
    self.assertIn('times 10 %', text)

  def test_what_is_no_report_is_refused(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'old.json'
      for content in [None, 'no JSON', '{"copies": []}', '[]']:
        if content is not None:
          path.write_text(content)
        with self.subTest(content), self.assertRaises(SystemExit):
          report.read_report(path)


if __name__ == '__main__':
  unittest.main()
