"""What became slower, and what faster, between two reports.

Instructions have changed when they differ by more than 1 %. A time has changed when its median
moved by more than two bounds. One is the row's own: both distances between the quartiles of its
repetitions, together. The other is of all rows, since a whole run is disturbed, too: three times
what half of the rows moved by, but at least 3 % and at most 10 %.
"""

import statistics

from tables import table, time_of

INSTRUCTIONS_BOUND = 0.01


def bound_of_all(pairs):
  """For the times of all rows, each before and now: as a part of the time before."""
  moves = [abs(new['nanoseconds'] / old['nanoseconds'] - 1) for old, new in pairs
           if old.get('nanoseconds') and 'nanoseconds' in new]
  return min(max(3 * statistics.median(moves), 0.03), 0.1) if moves else 0.03


def noise_of(row):
  low, high = row.get('quartiles', (0, 0))
  return high - low


def change(old, new, what, bound):
  """The new value as a multiple of the old one, or None when it is as it was."""
  before, after = old.get(what), new.get(what)
  if not before or after is None:
    return None
  noise = noise_of(old) + noise_of(new) if what == 'nanoseconds' else 0
  return after / before if abs(after - before) > max(bound * before, noise) else None


def print_changes(old_rows, new_rows):
  old = {row['name']: row for row in old_rows}
  new = {row['name']: row for row in new_rows}
  both = [name for name in new if name in old]
  time_bound = bound_of_all([(old[name], new[name]) for name in both])
  changes = []
  for name in both:
    for what, bound, say in (
        ('instructions', INSTRUCTIONS_BOUND, lambda count: f'{count:.1f} instructions'),
        ('nanoseconds', time_bound, time_of)):
      ratio = change(old[name], new[name], what, bound)
      if ratio is not None:
        changes.append((ratio, [name, say(old[name][what]), say(new[name][what]),
                                f'{100 * (ratio - 1):+.1f} %']))
  for title, lines in (
      ('slower than before', sorted((c for c in changes if c[0] > 1), reverse=True)),
      ('faster than before', sorted(c for c in changes if c[0] < 1))):
    table(title, ['', 'before', 'now', ''], [line for _, line in lines])
  print(f'\ncompared: {len(both)} rows, {len(new) - len(both)} are new, {len(old) - len(both)} are '
        f'gone; bounds: instructions {100 * INSTRUCTIONS_BOUND:.0f} %, times '
        f'{100 * time_bound:.0f} % and the quartiles of both runs')
