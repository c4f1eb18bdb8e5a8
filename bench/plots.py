"""The report as pictures: the same rows give the same files."""

import matplotlib

from tables import ALLOCATORS, LIBRARIES, SPACES, call_label

matplotlib.use('svg')
from matplotlib import pyplot  # noqa: E402, after the choice of its back end

pyplot.rcParams['svg.hashsalt'] = 'xencomm'


def finish(figure, path):
  figure.tight_layout()
  figure.savefig(path, metadata={'Date': None})
  pyplot.close(figure)
  return path.name


def draw_lines(panel, rows, part, names, x, y, **settings):
  """A line for each of `names` that has rows."""
  for name, label in names.items():
    points = sorted((row[x], row[y]) for row in rows if row[part] == name and y in row)
    if points:
      panel.plot(*zip(*points), marker='o', markersize=3, label=label)
  panel.set(xscale='log', yscale='log', **settings)
  panel.grid(alpha=0.3)


def draw_bars(panel, rows, label, part, names, value, ylabel):
  """A group of bars for each label, a bar for each of `names`."""
  present = [name for name in names if any(row[part] == name for row in rows)]
  labels = list(dict.fromkeys(map(label, rows)))
  width = 0.8 / len(present)
  for index, name in enumerate(present):
    values = {label(row): row[value] for row in rows if row[part] == name}
    panel.bar([at + index * width for at, each in enumerate(labels) if each in values],
              [values[each] for each in labels if each in values], width, label=names[name])
  panel.set_xticks([at + 0.4 - width / 2 for at in range(len(labels))], labels, rotation=30,
                   ha='right')
  panel.set(yscale='log', ylabel=ylabel)
  panel.grid(axis='y', alpha=0.3)
  panel.legend(fontsize='small')


def draw(rows, folder):
  """Answers the names of what was written."""
  def of(group):
    return [row for row in rows if row['group'] == group and 'nanoseconds' in row]

  written = []
  if of('copy'):
    figure, panels = pyplot.subplots(1, 2, figsize=(12, 5), sharey=True)
    for panel, direction in zip(panels, ('from', 'to')):
      draw_lines(panel, [row for row in of('copy') if row['direction'] == direction], 'space',
                 SPACES, 'bytes', 'ratio', title=f'copy {direction} a guest, pages scattered',
                 xlabel='bytes')
    panels[0].set_ylabel('time, as a multiple of memcpy by the direct pointer')
    panels[0].legend()
    written.append(finish(figure, folder / 'copies.svg'))
  if of('call'):
    figure, panels = pyplot.subplots(2, 1, figsize=(12, 9), sharex=True)
    draw_bars(panels[0], of('call'), call_label, 'way', SPACES, 'nanoseconds',
              'nanoseconds of a whole call')
    draw_bars(panels[1], [row for row in of('call') if 'ratio' in row], call_label, 'way', SPACES,
              'ratio', 'as a multiple of the direct pointer')
    written.append(finish(figure, folder / 'calls.svg'))
  own = [row for row in of('xenctrl') if 'own_nanoseconds' in row]
  if own:
    figure, panel = pyplot.subplots(figsize=(12, 5))
    draw_bars(panel, own, lambda row: row['call'], 'library', LIBRARIES, 'own_nanoseconds',
              "nanoseconds of the library's own part")
    written.append(finish(figure, folder / 'xenctrl.svg'))
  values = {axis: {row['value'] for row in of('scale') if row['axis'] == axis}
            for axis in dict.fromkeys(row['axis'] for row in of('scale'))}
  axes = [axis for axis in values if len(values[axis]) > 1]
  if axes:
    figure, panels = pyplot.subplots(1, len(axes), figsize=(4 * len(axes), 4), sharey=True,
                                     squeeze=False)
    for panel, axis in zip(panels[0], axes):
      draw_lines(panel, [row for row in of('scale') if row['axis'] == axis], 'way', SPACES, 'value',
                 'nanoseconds', xlabel=axis)
      panel.set_ylim(10, 3 * max(row['nanoseconds'] for row in of('scale')))
    panels[0][0].set_ylabel('nanoseconds of a whole call')
    panels[0][0].legend()
    written.append(finish(figure, folder / 'scale.svg'))
  if of('allocate'):
    figure, panel = pyplot.subplots(figsize=(7, 5))
    draw_lines(panel, of('allocate'), 'allocator', ALLOCATORS, 'bytes', 'nanoseconds',
               title='allocate and free a hypercall buffer', xlabel='bytes', ylabel='nanoseconds')
    panel.legend()
    written.append(finish(figure, folder / 'allocations.svg'))
  return written
