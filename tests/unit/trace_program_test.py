#!/usr/bin/python3
"""xencomm trace on programs that ask Xen's devices where there are none: what it shows of them, and
that they are as they would be without it.

    trace_program_test.py XENCOMM PROGRAM STATIC_PROGRAM 32_BIT_PROGRAM
"""

import collections
import errno
import json
import os
import pathlib
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest

XENCOMM, *PROGRAMS = map(pathlib.Path, sys.argv[1:4])
OTHER = sys.argv[4] if len(sys.argv) > 4 else ""
TRACE = [XENCOMM, "trace"]


def run(*words, **options):
  return subprocess.run([str(word) for word in words], text=True, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, timeout=100, **options)


class TraceTest(unittest.TestCase):

  def setUp(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.file = pathlib.Path(folder.name, "trace")

  def trace(self, *words, code=3):
    """The calls of a program, as JSON says them; the program prints and ends as without it."""
    options = [word for word in words if str(word).startswith("-")]
    program = [word for word in words if not str(word).startswith("-")]
    alone = run(*program)
    done = run(*TRACE, "--json", "-q", "-o", self.file, *options, "--", *program)
    self.assertEqual((done.returncode, done.stdout), (alone.returncode, alone.stdout), done.stderr)
    self.assertEqual(done.returncode, code)
    return [json.loads(line) for line in self.file.read_text().splitlines()]

  def wait_for(self, text, count=1):
    """Until that stands in the trace so often."""
    deadline = time.monotonic() + 30
    while not (self.file.exists() and self.file.read_text().count(text) >= count):
      self.assertLess(time.monotonic(), deadline, text)
      time.sleep(0.02)

  def domains(self, calls):
    return [call["arguments"]["domain"] for call in calls]

  def refused(self, sentence, *words, code=1):
    done = run(*TRACE, *words)
    self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
    self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
    self.assertRegex(done.stderr, sentence)


def why_not_attach():
  """What forbids to trace a process that runs, though it is one's own; else None."""
  with subprocess.Popen(["sleep", "100"]) as program:
    try:
      done = subprocess.run([*map(str, TRACE), "-p", str(program.pid)], text=True, timeout=2,
                            stderr=subprocess.PIPE)
      return done.stderr
    except subprocess.TimeoutExpired:
      return None
    finally:
      program.kill()


WHY_NOT_ATTACH = why_not_attach()


class Started(TraceTest):

  def test_calls_are_shown_with_what_was_answered(self):
    for program in PROGRAMS:
      calls = self.trace(program, "calls")
      self.assertEqual(self.domains(calls), [1, 2, 3, 4, 5])
      for call in calls:
        self.assertEqual(call["call"], "domctl.pausedomain")
        self.assertEqual((call["errno"], call["program"]), ("ENOTTY", program.name[:15]))

  def test_threads_and_children_are_followed_when_asked_for(self):
    counts = collections.Counter(self.domains(self.trace(PROGRAMS[0], "threads", "-f")))
    self.assertEqual(counts, {10: 50, 11: 50, 12: 50, 13: 50})
    self.assertEqual(self.trace(PROGRAMS[0], "threads"), [])
    calls = self.trace(PROGRAMS[0], "fork", "-f")
    self.assertEqual(self.domains(calls), [1, 2, 1, 2, 3, 4, 5])
    self.assertEqual(len({call["process"] for call in calls}), 3)
    self.assertEqual(self.domains(self.trace(PROGRAMS[0], "fork")), [1])
    calls = self.trace(PROGRAMS[0], "exec")
    self.assertEqual(self.domains(calls), [7, 1, 2, 3, 4, 5])
    calls = self.trace(PROGRAMS[0], "thread-exec", "-f")
    self.assertEqual(self.domains(calls), [8, 1, 2, 3, 4, 5])
    self.assertEqual([call["thread"] == call["process"] for call in calls], [False] + [True] * 5)

  def test_processes_are_shown_that_come_and_end(self):
    for what, codes in (("fork", [4, 3, 3]), ("threads", [3])):
      done = run(*TRACE, "--json", "-f", "-o", self.file, "--", PROGRAMS[0], what)
      lines = [json.loads(line) for line in self.file.read_text().splitlines()]
      events = [line for line in lines if "event" in line]
      self.assertEqual([event["event"] for event in events], [f"exited with {c}" for c in codes])
      self.assertEqual({(event["program"], *event) for event in events},
                       {(PROGRAMS[0].name[:15], "time", "process", "program", "event")})
      # Children, but no threads.
      self.assertEqual(done.stderr, "".join(
          f"xencomm trace: process {event['process']} attached\n" for event in events[:-1]))

  def test_pointers_that_lead_nowhere_hurt_nobody(self):
    calls = self.trace(PROGRAMS[0], "wild", "-f")
    self.assertEqual(len(calls), 33)
    for call in calls[:-1]:
      leads_nowhere = isinstance(call["arguments"].get("buffer"), dict)
      self.assertTrue("note" in call or leads_nowhere, call)

  def test_many_pointers_that_lead_nowhere_take_no_time(self):
    begun = time.monotonic()
    calls = self.trace(PROGRAMS[0], "wild-list")
    self.assertEqual(len(calls), 900)
    # Looking through all mappings for each of them takes more than ten times as long.
    self.assertLess(time.monotonic() - begun, 6)

  def test_memory_that_only_its_owner_reads_is_copied_by_it(self):
    shown = run(PROGRAMS[0], "device").stdout
    if "skipped" in shown:
      self.skipTest(shown)
    done = run(*TRACE, "--json", "-q", "-f", "-o", self.file, "--", PROGRAMS[0], "device")
    bytes_read = re.search("bytes: (.*)", done.stdout).group(1)
    self.assertEqual(done.stdout.count("write: -1, errno 25"), 2)
    self.assertEqual(done.stdout.count("child: 5"), 2)
    lines = self.file.read_text().splitlines()
    self.assertEqual(len(lines), 4)
    for line in lines:
      buffer = json.loads(line)["arguments"]["buffer"]
      text = buffer.encode() if isinstance(buffer, str) else bytes.fromhex(buffer["bytes"])
      self.assertEqual(text.ljust(8, b"\0").hex(), bytes_read)

  def test_who_has_copied_has_no_pages_of_ours(self):
    # They could be in the way of what the program maps, or be unmapped and used by it.
    call, = self.trace(PROGRAMS[0], "copies", "-f")
    self.assertNotIn("note", call)

  def test_signals_wait_while_it_copies(self):
    calls = self.trace(PROGRAMS[0], "signals", "-f")
    self.assertEqual(len(calls), 300)
    self.assertEqual([call for call in calls if call["errno"] != "ENOTTY" or "note" in call], [])

  def test_who_filters_system_calls_is_not_made_to_copy(self):
    write, pause = self.trace(PROGRAMS[0], "filtered")
    self.assertIn("filters its system calls", write["note"])
    self.assertEqual(self.domains([pause]), [1])

    first, write, pause, last = self.trace(PROGRAMS[0], "thread-filtered", "-f")
    self.assertEqual(["note" in call for call in (first, write, pause, last)],
                     [False, True, False, False])

  def test_it_ends_whatever_the_program_is_in(self):
    for what, code in (("thread-exit", 7), ("thread-exec-in-call", 3)):
      for _ in range(12):
        done = run(*TRACE, "-f", "-o", self.file, "--", PROGRAMS[0], what)
        self.assertEqual(done.returncode, code, done.stderr)

  def test_what_is_left_behind_is_traced_until_a_signal_comes(self):
    for number in (signal.SIGTERM, signal.SIGINT):
      tracer = subprocess.Popen([*TRACE, "-f", "-o", self.file, "--", PROGRAMS[0], "leave"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
      self.wait_for("exited with 3")
      self.wait_for("pausedomain", self.file.read_text().count("pausedomain") + 1)
      tracer.send_signal(number)
      said = tracer.communicate(timeout=30)
      self.assertEqual(tracer.returncode, 3)
      # It lives, but nothing answers its calls any more.
      self.assertEqual(said[0], f"left: -1, errno {errno.ENOSYS}\n")
      self.assertRegex(said[1], r"process \d+ runs on alone: .* fail from now on\n$")
      self.file.unlink()

  def test_a_programs_name_is_shown_as_text(self):
    program = self.file.with_name("a\x1b[31m")
    program.symlink_to(PROGRAMS[0].resolve())
    done = run(*TRACE, "--", program, "calls")
    self.assertRegex(done.stderr, r"^\S+ \d+<a\\x1b\[31m> domctl\.")
    self.assertNotIn("\x1b", done.stderr)

  def test_it_ends_as_the_program_does(self):
    done = run(*TRACE, "-o", self.file, "--", PROGRAMS[0], "killed")
    self.assertEqual(done.returncode, -signal.SIGUSR1)
    self.assertIn("+++ killed by SIGUSR1 +++", self.file.read_text())

  def test_it_leaves_no_core_file_but_the_program_may(self):
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    if most == 0:
      self.skipTest("nobody may leave one here")
    looks = "ulimit -c; grep core /proc/$PPID/limits; ulimit -c 0; kill -ABRT $$"
    done = run(XENCOMM.resolve(), "trace", "-o", self.file, "--", "sh", "-c", looks,
               cwd=self.file.parent, preexec_fn=lambda: resource.setrlimit(
                   resource.RLIMIT_CORE, (most, most)))
    its, tracers = done.stdout.splitlines()
    self.assertNotEqual(its, "0")
    self.assertRegex(tracers, r"^Max core file size +0 ")
    self.assertEqual(done.returncode, -signal.SIGABRT)
    self.assertEqual(list(self.file.parent.iterdir()), [self.file])

  def test_lines_are_made_of_what_is_asked_for(self):
    def lines(*options):
      done = run(*TRACE, *options, "--", PROGRAMS[0], "calls")
      self.assertEqual(done.returncode, 3)
      return done.stderr.splitlines()
    call = r"domctl\.pausedomain\(\{domain=1\}\) = -1 ENOTTY \(Inappropriate ioctl for device\)"
    name = rf"\d+<{PROGRAMS[0].name[:15]}>"
    self.assertRegex(lines()[0], rf"^\d\d:\d\d:\d\d\.\d{{6}} {name} {call} <0\.\d{{6}}>$")
    self.assertRegex(lines("-t")[0], rf"^\d\d:\d\d:\d\d {name} {call} <")
    self.assertRegex(lines("-r")[1], rf"^ +0\.\d{{6}} {name} ")
    self.assertRegex(lines("-qq")[0], rf"^{call}$")
    self.assertRegex(lines("-qq", "-T")[0], rf"^{call} <0\.\d{{6}}>$")
    self.assertRegex(lines()[-1], r"\+\+\+ exited with 3 \+\+\+$")
    self.assertEqual(len(lines("-q")), 5)
    self.assertEqual(len(lines("-q", "-e", "dom=2,dom=3")), 2)
    self.assertEqual(lines("-q", "-e", "memory_op"), [])
    table = lines("-c")
    self.assertRegex(table[2], r"^100\.00 .* 5 +5 domctl\.pausedomain$")
    self.assertEqual(len(lines("-C", "-q")), 5 + len(table))

  def test_what_is_recorded_is_shown_as_when_it_was_made(self):
    done = run(*TRACE, "-f", "--json", "-q", "--", PROGRAMS[0], "wild")
    run(*TRACE, "-f", "--binary", "-o", self.file, "--", PROGRAMS[0], "wild")
    def without_times(text):
      # Nor addresses, which differ from run to run.
      return re.sub(r'"(time|process|thread|duration)":\d+|0x[0-9a-f]+|\d{9,}', "", text)
    again = run(*TRACE, "--json", f"--read={self.file}")
    self.assertEqual((again.returncode, again.stderr), (0, ""))
    self.assertEqual(without_times(again.stdout), without_times(done.stderr))
    chosen = run(*TRACE, f"--read={self.file}", "-e", "console_io", "-qq").stdout
    self.assertEqual(set(re.findall(r"^\w+", chosen, re.M)), {"console_io"})
    self.assertIn("total", run(*TRACE, f"--read={self.file}", "-c").stdout)
    run(*TRACE, "-e", "dom=3", "--binary", "-o", self.file, "--", PROGRAMS[0], "calls")
    self.assertRegex(run(*TRACE, f"--read={self.file}", "-qq").stdout,
                     r"^domctl\.pausedomain\(\{domain=3\}\) = .*\n$")


@unittest.skipIf(WHY_NOT_ATTACH, WHY_NOT_ATTACH)
class Attached(TraceTest):

  def setUp(self):
    super().setUp()
    self.program = subprocess.Popen([PROGRAMS[0], "stand"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True, bufsize=1)
    self.addCleanup(self.end)
    self.assertEqual(self.program.stdout.readline(), "ready\n")

  def end(self):
    self.program.stdin.close()
    self.program.stdout.close()
    self.program.wait(timeout=30)

  def ask(self):
    self.program.stdin.write("x")
    self.program.stdin.flush()
    return self.program.stdout.readline()

  def test_it_comes_and_goes_and_the_program_is_as_it_was(self):
    mappings = self.ask()
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
      tracer = subprocess.Popen([*TRACE, "-f", "-o", self.file, "-p", str(self.program.pid)],
                                stderr=subprocess.PIPE, text=True)
      self.wait_for("\n", 21)
      self.assertRegex(self.ask(), r"^\d+ mappings$")
      tracer.send_signal(end)
      said = tracer.communicate(timeout=30)[1]
      self.assertEqual(tracer.returncode, 0)
      self.assertEqual(said, "".join(
          f"xencomm trace: process {self.program.pid} {what}\n" for what in ("attached",
                                                                             "detached")))
      self.assertIn("console_io.write(buffer=", self.file.read_text())
      self.assertNotIn("/*", self.file.read_text())
      self.file.unlink()
      # Neither a call that was interrupted, nor pages of ours.
      self.assertEqual(self.ask(), mappings)
    self.program.stdin.close()
    self.assertEqual(self.program.stdout.read(), "")
    self.assertEqual(self.program.wait(timeout=30), 3)

  def test_without_f_it_sees_one_thread(self):
    tracer = subprocess.Popen([*TRACE, "-o", self.file, "-p", str(self.program.pid)],
                              stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    tracer.send_signal(signal.SIGINT)
    self.assertEqual(tracer.wait(timeout=30), 0)
    self.assertEqual(self.file.read_text(), "")

  def test_filters_that_the_tracer_has_too_are_not_the_programs(self):
    # As in a container, where all are below one.
    contained = [PROGRAMS[0], "contained"]
    for below, note in ((contained, False), ([], True)):
      program = subprocess.Popen([*contained, PROGRAMS[0], "stand"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
      self.assertEqual(program.stdout.readline(), "ready\n")
      tracer = subprocess.Popen([*below, *TRACE, "-qq", "-f", "-p", str(program.pid)],
                                stderr=subprocess.PIPE, text=True)
      line = tracer.stderr.readline()
      tracer.send_signal(signal.SIGINT)
      tracer.communicate(timeout=30)
      program.communicate(timeout=30)
      self.assertEqual("filters its system calls" in line, note, line)

  def test_who_is_traced_already_is_refused(self):
    tracer = subprocess.Popen([*TRACE, "-o", self.file, "-f", "-p", str(self.program.pid)],
                              stderr=subprocess.PIPE, text=True)
    self.assertIn("attached", tracer.stderr.readline())
    self.refused(f"process {self.program.pid} is traced already, by process {tracer.pid}$", "-p",
                 self.program.pid)
    tracer.send_signal(signal.SIGINT)
    tracer.communicate(timeout=30)

  def test_what_stops_the_program_stops_it(self):
    tracer = subprocess.Popen([*TRACE, "-q", "-o", self.file, "-f", "-p", str(self.program.pid)])
    time.sleep(0.2)
    for _ in range(3):
      self.program.send_signal(signal.SIGSTOP)
      time.sleep(0.2)
      self.program.stdin.write("x")
      self.program.stdin.flush()
      calls = self.file.read_text()
      self.assertEqual(select.select([self.program.stdout], [], [], 0.3)[0], [])
      self.assertEqual(self.file.read_text(), calls)
      self.program.send_signal(signal.SIGCONT)
      self.assertRegex(self.program.stdout.readline(), r"^\d+ mappings$")
    # It stays stopped when it is let go of.
    self.program.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    tracer.send_signal(signal.SIGINT)
    self.assertEqual(tracer.wait(timeout=30), 0)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
      state = pathlib.Path(f"/proc/{self.program.pid}/stat").read_text().split()[2]
      if state == "T":
        break
      time.sleep(0.02)
    self.program.send_signal(signal.SIGCONT)
    self.assertEqual(state, "T")
    self.assertRegex(self.ask(), r"^\d+ mappings$")

  def test_it_ends_with_the_program(self):
    tracer = subprocess.Popen([*TRACE, "-q", "-o", self.file, "-f", "-p", str(self.program.pid)])
    time.sleep(0.2)
    self.program.stdin.close()
    self.assertEqual(tracer.wait(timeout=30), 0)


class OnMachine(TraceTest):
  """Where no system call carries a hypercall, the library announces it."""

  DEVICE = {**os.environ, "DEVICE": "/dev/xen/privcmd"}

  def test_calls_are_shown_with_the_machines_answers(self):
    for words in ([XENCOMM, "run", "--", *TRACE], [*TRACE, "-f", XENCOMM, "run"]):
      at = words.index("trace") + 1
      words = [*words[:at], "--json", "-q", "-o", self.file, *words[at:]]
      done = run(*words, "--", PROGRAMS[0], "calls", env=self.DEVICE)
      self.assertEqual(done.returncode, 3, done.stderr)
      self.assertEqual(done.stdout, "pausedomain: -1, errno 3\n" * 5)
      calls = [json.loads(line) for line in self.file.read_text().splitlines()]
      self.assertEqual(self.domains(calls), [1, 2, 3, 4, 5])
      self.assertEqual({call["errno"] for call in calls}, {"ESRCH"})
      self.assertEqual({call["program"] for call in calls}, {PROGRAMS[0].name[:15]})

  def test_continuations_are_seen(self):
    done = run(XENCOMM, "run", "--", *TRACE, "--json", "-q", "-o", self.file, "--", PROGRAMS[0],
               "balloon", env=self.DEVICE)
    self.assertEqual(done.stdout, "decrease: 6000, errno 0\n", done.stderr)
    call, = [json.loads(line) for line in self.file.read_text().splitlines()]
    self.assertEqual((call["call"], call["result"], call["continuations"]),
                     ("memory_op.decrease_reservation", 6000, 1))
    self.assertEqual(call["arguments"]["extent_start"], list(range(0x4000, 0x4000 + 6000)))

  def test_a_hypervisor_in_the_process_is_watched_too(self):
    listed = run(XENCOMM, "list", "--space=direct")
    done = run(*TRACE, "-qq", "--", XENCOMM, "list", "--space=direct")
    self.assertEqual((done.returncode, done.stdout), (0, listed.stdout))
    self.assertRegex(done.stderr, r"(?m)^sysctl\.getdomaininfolist\(\{first_domain=0, .*"
                     r"buffer=\[\{domain=0, flags=XEN_DOMINF_running.*num_domains=1\}\) = 0$")

  @unittest.skipIf(WHY_NOT_ATTACH, WHY_NOT_ATTACH)
  def test_who_runs_already_is_told_to_announce(self):
    program = subprocess.Popen([XENCOMM, "run", "--", PROGRAMS[0], "stand"], env=self.DEVICE,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    self.addCleanup(program.wait)
    self.addCleanup(program.stdout.close)
    self.addCleanup(program.stdin.close)
    self.assertEqual(program.stdout.readline(), "ready\n")
    process = int(run("pgrep", "-P", program.pid, "-x", PROGRAMS[0].name[:15]).stdout)
    def calls_in(seconds):
      tracer = subprocess.Popen([*TRACE, "-qq", "-f", "-p", str(process)], stderr=subprocess.PIPE,
                                text=True)
      time.sleep(seconds)
      tracer.send_signal(signal.SIGINT)
      return tracer.communicate(timeout=30)[1].splitlines()
    for _ in range(2):
      calls = calls_in(1)
      self.assertGreater(len(calls), 3)
      # How the last one ended, nobody saw who was let go of in it.
      self.assertRegex(calls.pop(), r"= (-1 EFAULT \(Bad address\)|\?)$")
      for call in calls:
        # The machine does not reach such a page.
        self.assertRegex(call, r"^console_io\.write\(buffer=\".*count=16\) = -1 EFAULT ")


class Replayed(TraceTest):

  def record(self, *words, env=None):
    run(*TRACE, "-f", "--binary", "-o", self.file, "--", *words, env=env)

  def replay(self, *words, code=0):
    done = run(XENCOMM, "replay", *words, self.file)
    self.assertEqual((done.returncode, done.stderr), (code, ""))
    return done.stdout

  def test_what_a_machine_answered_another_one_answers(self):
    for words, calls in ((["calls"], 5), (["balloon"], 1)):
      self.record(XENCOMM, "run", "--", PROGRAMS[0], *words, env=OnMachine.DEVICE)
      for options in ([], ["--space=walk4"], ["--space=direct"]):
        self.assertEqual(self.replay(*options),
                         f"{calls} call{'s were' if calls > 1 else ' was'} made again, "
                         "none was answered otherwise.\n")

  def test_the_first_difference_is_named(self):
    self.record(PROGRAMS[0], "balloon")  # of a device that is none
    self.file.write_bytes(self.file.read_bytes() + self.file.read_bytes()[24:])
    text = self.replay(code=1)
    self.assertRegex(text, r"^call 1 \(trace_program \d+\), memory_op\.decrease_reservation: result: "
                     r"recorded -1 ENOTTY \(.*\), answered 6000\n"
                     r"  recorded  memory_op\.decrease_reservation\(\{.*\}\) = -1 ENOTTY .*\n"
                     r"  answered  memory_op\.decrease_reservation\(\{.*\}\) = 6000\n"
                     r"1 call was made again, 1 was answered otherwise\.\n")
    self.assertIn("2 calls were made again, 2 were answered otherwise.",
                  self.replay("--all", code=1))
    self.assertIn("2 calls were made again, 2 were answered otherwise.",
                  self.replay("--all", "-e", "memory_op", code=1))
    self.assertIn("2 calls were made again, none was answered otherwise",
                  self.replay("-e", "sysctl"))
    first, end = [json.loads(line) for line in self.replay("--json", code=1).splitlines()]
    self.assertEqual((first["number"], first["call"]), (1, "memory_op.decrease_reservation"))
    self.assertEqual(first["differences"], [{"where": "result",
                                             "recorded": "-1 ENOTTY (Inappropriate ioctl for device)",
                                             "answered": "6000"}])
    self.assertEqual(end, {"made": 1, "different": 1, "not_made": []})

  def test_what_was_there_before_is_left_alone(self):
    self.record(PROGRAMS[0], "calls")
    text = self.replay("--all", code=1)
    self.assertIn("0 calls were made again", text)
    for domain in range(1, 6):
      self.assertIn(f"Not made: 1 of domctl.pausedomain: domain {domain} was there before the "
                    "recording.\n", text)

  def test_what_cannot_be_made_again_is_counted(self):
    self.record(PROGRAMS[0], "wild")
    text = self.replay("--all", code=1)
    self.assertTrue(text.startswith("0 calls were made again, none was answered otherwise.\n"))
    self.assertRegex(text, r"(?m)^Not made: \d+ of domctl: a structure that cannot be read\.$")
    self.assertRegex(text, r"(?m)^Not made: \d+ of console_io\.write: not all that it reads was "
                     r"recorded\.$")
    self.assertRegex(text, r"(?m)^Not made: \d+ of null\.hypercall: its argument cannot be read\.$")

  def test_a_recording_that_is_none_is_refused(self):
    for sentence, words, code in (
        ("expected the file that xencomm trace --binary wrote", [], 2),
        ("'/nowhere' cannot be read: No such file", ["/nowhere"], 1),
        ("expected a trace that --binary wrote", [XENCOMM], 1),
        ("the nearest name is domctl", ["-e", "domclt", "/nowhere"], 2)):
      done = run(XENCOMM, "replay", *words)
      self.assertEqual((done.returncode, done.stdout), (code, ""))
      self.assertIn(sentence, done.stderr)
      self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
    # One that ends within a call: what was whole was made.
    self.record(XENCOMM, "run", "--", PROGRAMS[0], "calls", env=OnMachine.DEVICE)
    self.file.write_bytes(self.file.read_bytes()[:-3])
    done = run(XENCOMM, "replay", "--all", self.file)
    self.assertEqual(done.returncode, 1)
    self.assertIn("4 calls were made again, none was", done.stdout)
    self.assertIn("ends within a call", done.stderr)


class Refused(TraceTest):

  def test_wrong_words_get_one_sentence(self):
    self.refused("expected a PROGRAM to run, or --attach, or --read", code=2)
    self.refused("expected no PROGRAM with --attach", "-p", "1", "--", "ls", code=2)
    self.refused("expected the number of a process", "-p", "x", code=2)
    self.refused("the nearest name is domctl", "-e", "domclt", "--", "ls", code=2)
    self.refused("expected --output with it", "--binary", "--", "ls", code=2)
    self.refused("expected 4.17, 4.18, ", "--release=3.1", "--", "ls", code=2)
    self.refused("there is no process 999999999", "-p", "999999999")
    self.refused("cannot be written: No such file", "-o", "/nowhere/at/all", "--", "ls")
    self.refused("'/nowhere' cannot be read: No such file", "--read=/nowhere")
    self.refused("expected a trace that --binary wrote", f"--read={XENCOMM}")
    self.refused("cannot be run: No such file", "--", "/nowhere/at/all", code=127)
    self.refused("cannot be run: Permission denied", "--", "/etc/passwd", code=126)

  def test_a_full_disk_is_said_once_and_the_program_goes_on(self):
    for options in ([], ["--binary"]):
      done = run(*TRACE, "-o", "/dev/full", *options, "--", PROGRAMS[0], "calls")
      self.assertEqual(done.stdout.count("pausedomain: -1, errno 25"), 5)
      self.assertEqual(done.stderr,
                       "xencomm trace: the trace cannot be written: No space left on device\n")

  def test_other_users_processes_are_refused(self):
    if os.getuid() != 0:
      self.skipTest("only root can be somebody else here")
    program = subprocess.Popen(["sleep", "100"])
    self.addCleanup(program.wait)
    self.addCleanup(program.kill)
    with tempfile.TemporaryDirectory() as folder:
      command = pathlib.Path(folder, "xencomm")
      command.write_bytes(XENCOMM.read_bytes())
      command.chmod(0o755)
      os.chmod(folder, 0o755)
      done = run(command, "trace", "-p", program.pid, user=65534, group=65534, extra_groups=[])
    self.assertEqual(done.returncode, 1)
    self.assertRegex(done.stderr, rf"process {program.pid} may not be traced \(Operation not "
                     r"permitted\): expected one of this user's, or to be root$")

  def test_a_program_of_32_bits_is_said_to_be_one(self):
    if not OTHER:
      self.skipTest("no program of 32 bits can be built here")
    try:
      run(OTHER)
    except OSError as error:
      self.skipTest(f"the kernel runs no program of 32 bits: {error.strerror}")
    done = run(*TRACE, "-q", "--", OTHER)
    self.assertEqual(done.returncode, 0)
    self.assertRegex(done.stderr, "is a program of 32 bits now: its calls are not shown")


if __name__ == "__main__":
  unittest.main(argv=sys.argv[:1])
