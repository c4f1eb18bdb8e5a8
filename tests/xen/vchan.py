"""What goes through vchans between two domains, and what each end of one (vchan_peer.c) prints of
it: between domains of a machine, and on real Xen."""

import re
import typing

ENDLESS = 1 << 60
ENDS = ['server', 'client']


class Channel(typing.NamedTuple):
  """Bytes that go one way through a vchan between two domains. One of its ends may be killed, so
  many seconds after it was open."""
  domains: tuple  # the server's, the client's
  ways: tuple     # what either does
  ring: int = 65536
  victim: int = None
  delay: float = 0

  def __str__(self):
    ends = ', '.join(f'{end} {domain} {way}s'
                     for end, domain, way in zip(ENDS, self.domains, self.ways))
    killed = '' if self.victim is None else f', {ENDS[self.victim]} killed'
    return f'{ends}, rings of {self.ring}{killed}'

  def words(self, end, path, total):
    """Of the program at one end."""
    total = total if self.victim is None else ENDLESS
    return [ENDS[end], self.domains[1 - end], path, self.ways[end], total, self.ring]

  def path(self, number):
    """In the server's part of the store. What earlier ones left there is not found."""
    return f'/local/domain/{self.domains[0]}/data/vchan-{number}'

  def is_as_expected(self, end, output):
    last = ('all\n' if self.victim is None else
            '' if self.victim == end else r'not (sent|received), open 0\n')
    return re.fullmatch(('there\n' if end == 0 else '') + f'open\n{last}', output)


def plan(pairs):
  """The channels between pairs of domains, a server and a client; the last pair's have rings of all
  sizes."""
  both = [('send', 'receive'), ('receive', 'send')]
  for domains in pairs:
    for ways in both:
      yield Channel(domains, ways)
      for victim in (0, 1):
        for delay in (0, 0.02):
          yield Channel(domains, ways, victim=victim, delay=delay)
  # In the page that both begin with, and in pages of their own.
  for ring in (1024, 2048, 4096, 8192, 1 << 20):
    yield Channel(pairs[-1], both[0], ring)
