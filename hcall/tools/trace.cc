// xencomm trace: what strace is for system calls, for hypercalls.

#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "hcall/schema/words.h"
#include "hcall/tools/command.h"
#include "hcall/trace/call_text.h"
#include "hcall/trace/described_call.h"
#include "hcall/trace/domain_names.h"
#include "hcall/trace/filter.h"
#include "hcall/trace/recording.h"
#include "hcall/trace/summary.h"
#include "hcall/trace/tracer.h"

namespace xencomm::tools {
namespace {

using trace::CapturedCall;
using trace::DescribedCall;

// Of a buffer so much is read where all of it would be shown, or kept.
constexpr std::uint64_t kMost = std::uint64_t{64} << 20;
// And otherwise.
constexpr std::uint64_t kShown = std::uint64_t{64} << 10;
constexpr std::size_t kElements = 8;
constexpr std::size_t kBytes = 32;

// --- What the options say ------------------------------------------------------------------------

struct Style {
  enum class Time : std::uint8_t { kSeconds, kMicroseconds, kRelative };

  Time time = Time::kMicroseconds;
  bool is_json = false;
  bool is_plain = false;  // a call, and nothing of when and where
  bool has_durations = true;
  bool has_colours = false;
  trace::Amounts amounts = {};
};

Style StyleOf(const Arguments& arguments) {
  Style style;
  style.is_json = arguments.Has("json");
  style.is_plain = arguments.All("quiet").size() > 1;
  style.has_durations = !style.is_plain || arguments.Has("durations");
  if (arguments.Has("time")) {
    style.time =
        arguments.All("time").size() > 1 ? Style::Time::kMicroseconds : Style::Time::kSeconds;
  }
  if (arguments.Has("relative")) style.time = Style::Time::kRelative;
  if (!arguments.Has("no-abbrev") && !style.is_json) style.amounts = {kElements, kBytes};
  if (arguments.Has("string-limit")) {
    const std::size_t limit = arguments.Number("string-limit");
    style.amounts = {std::min(style.amounts.elements, limit), limit};
  }
  return style;
}

trace::Reading ReadingOf(const Arguments& arguments) {
  trace::Reading reading;
  reading.vcpus = static_cast<std::uint32_t>(sysconf(_SC_NPROCESSORS_CONF));
  std::string release = arguments.Get("release").value_or("");
  if (release.empty()) {
    // Of the Xen below this kernel, if there is one.
    std::string major, minor;
    std::ifstream("/sys/hypervisor/version/major") >> major;
    std::ifstream("/sys/hypervisor/version/minor") >> minor;
    const auto known = schema::ParseRelease(absl::StrCat(major, ".", minor));
    if (known) reading.releases = *known;
    return reading;
  }
  // One that is known: the options were checked.
  reading.releases = schema::ParseRelease(release).value_or(schema::kAllReleases);
  return reading;
}

// --- Where it goes -------------------------------------------------------------------------------

class Output {
 public:
  // `file` is borrowed; `names` may be none.
  Output(std::FILE* file, const Style& style, const trace::Filter& filter, bool has_lines,
         trace::DomainNames names)
      : file_(file), style_(style), filter_(filter), has_lines_(has_lines), names_(names) {}

  void Show(const CapturedCall& captured, const trace::Reading& reading) {
    for (const DescribedCall& call : Describe(captured, reading, style_.amounts)) {
      if (!filter_.Shows(call)) continue;
      summary_.Add(call, captured.duration);
      if (!has_lines_) continue;
      const std::string line =
          style_.is_json
              ? trace::CallJson(captured, call, names_)
              : absl::StrCat(Begin(captured.time, captured.thread, captured.program),
                             CallText(call, names_, style_.has_colours), Duration(captured));
      Write(line);
    }
  }

  // Of a process: "exited with 0".
  void Show(std::uint64_t time, const trace::TracedProcess& process, const std::string& event) {
    if (!has_lines_) return;
    Write(style_.is_json
              ? trace::EventJson(time, process.id, process.name, event)
              : absl::StrCat(Begin(time, process.id, process.name), "+++ ", event, " +++"));
  }

  void ShowSummary() {
    std::fputs((style_.is_json ? summary_.Json() : summary_.Table()).c_str(), file_);
  }

  // Whether all could be written.
  absl::Status Flush() {
    if (std::fflush(file_) == 0 && std::ferror(file_) == 0) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat("the trace cannot be written: ", strerrordesc_np(errno)));
  }

 private:
  void Write(const std::string& line) {
    std::fputs(line.c_str(), file_);
    std::fputc('\n', file_);
  }

  std::string Begin(std::uint64_t time, std::int32_t thread, const std::string& program) {
    if (style_.is_plain) return "";
    std::string text;
    if (style_.time == Style::Time::kRelative) {
      const std::uint64_t since = last_ == 0 || time < last_ ? 0 : time - last_;
      text = absl::StrFormat("%12.6f", static_cast<double>(since) / 1e9);
      last_ = time;
    } else {
      const char* const format = style_.time == Style::Time::kSeconds ? "%H:%M:%S" : "%H:%M:%E6S";
      text = absl::FormatTime(format, absl::FromUnixNanos(static_cast<std::int64_t>(time)),
                              absl::LocalTimeZone());
    }
    // A program can call itself anything.
    return absl::StrFormat("%s %d<%s> ", text, thread, absl::CHexEscape(program));
  }

  std::string Duration(const CapturedCall& captured) const {
    if (!style_.has_durations) return "";
    return absl::StrFormat(" <%.6f>", static_cast<double>(captured.duration) / 1e9);
  }

  std::FILE* const file_;
  const Style style_;
  const trace::Filter& filter_;
  const bool has_lines_;
  const trace::DomainNames names_;
  trace::Summary summary_;
  std::uint64_t last_ = 0;
};

// --- Signals -------------------------------------------------------------------------------------

// ^C and its like: asked for once, it is asked for until it is heard, wherever the first one came.
volatile std::sig_atomic_t end_asked = 0;
pid_t passed_on_to = 0;

void AskForEnd(int signal) {
  if (passed_on_to != 0) {
    kill(passed_on_to, signal);
    return;
  }
  end_asked = signal;
  const itimerval soon = {{0, 10000}, {0, 10000}};
  setitimer(ITIMER_REAL, &soon, nullptr);
}

// A program that was started here is told, while it runs; one that was attached to is left alone.
void HandleSignals(pid_t started) {
  passed_on_to = started;
  struct sigaction action = {};
  action.sa_handler = AskForEnd;  // without SA_RESTART: waiting ends
  for (const int signal : {SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  if (started != 0) action.sa_handler = SIG_IGN;  // it has them from the terminal itself
  for (const int signal : {SIGINT, SIGQUIT}) sigaction(signal, &action, nullptr);
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // what cannot be written ends the trace, not the program
}

// Whatever ends this leaves no core file: in it would be other programs' memory, and it could take
// the place of the program's own. After the program has been started, whose limits are its own.
void LeaveNoCore() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_CORE, &limit) != 0) return;
  limit.rlim_cur = 0;
  (void)setrlimit(RLIMIT_CORE, &limit);
}

// As strace: what ended the program ends this, too.
int EndAs(int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  const int signal = WTERMSIG(status);
  std::signal(signal, SIG_DFL);
  (void)raise(signal);
  return 128 + signal;
}

// --- The command ---------------------------------------------------------------------------------

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

absl::StatusOr<File> OpenOutput(const Arguments& arguments) {
  const auto path = arguments.Get("output");
  if (!path) return File();
  File file(std::fopen(path->c_str(), "we"));
  if (file == nullptr) {
    return absl::NotFoundError(
        absl::StrFormat("'%s' cannot be written: %s", *path, strerrordesc_np(errno)));
  }
  return file;
}

absl::StatusOr<int> ReadAgain(const Arguments& arguments, const trace::Filter& filter) {
  Style style = StyleOf(arguments);
  auto file = OpenOutput(arguments);
  if (!file.ok()) return file.status();
  std::FILE* const to = *file != nullptr ? file->get() : stdout;
  style.has_colours = isatty(fileno(to)) == 1 && std::getenv("NO_COLOR") == nullptr;
  auto recording = trace::RecordingReader::Open(*arguments.Get("read"));
  if (!recording.ok()) return recording.status();
  Output output(to, style, filter, !arguments.Has("summary-only"), {});
  trace::Reading reading = recording->reading();
  if (arguments.Has("release")) {
    reading.releases = ReadingOf(arguments).releases;
  }
  for (;;) {
    const auto call = recording->Next();
    if (!call.ok()) {
      (void)output.Flush();
      return call.status();
    }
    if (!call->has_value()) break;
    output.Show(**call, reading);
  }
  if (arguments.Has("summary-only") || arguments.Has("summary")) output.ShowSummary();
  const absl::Status written = output.Flush();
  if (!written.ok()) return written;
  return 0;
}

absl::StatusOr<int> RunTrace(const Arguments& arguments) {
  trace::Filter filter;
  for (const std::string& expression : arguments.All("filter")) {
    const absl::Status added = filter.Add(expression);
    if (!added.ok()) return added;
  }
  if (arguments.Has("read")) return ReadAgain(arguments, filter);

  std::vector<pid_t> processes;
  for (const std::string& list : arguments.All("attach")) {
    for (const absl::string_view word : absl::StrSplit(list, absl::ByAnyChar(", "))) {
      pid_t process = 0;
      if (!absl::SimpleAtoi(word, &process) || process <= 0) {
        return absl::InvalidArgumentError(
            absl::StrFormat("--attach=%s: expected the number of a process", list));
      }
      processes.push_back(process);
    }
  }
  const trace::Reading reading = ReadingOf(arguments);
  auto file = OpenOutput(arguments);
  if (!file.ok()) return file.status();
  const bool is_binary = arguments.Has("binary");
  std::FILE* const to = *file != nullptr ? file->get() : stderr;

  Style style = StyleOf(arguments);
  style.has_colours = isatty(fileno(to)) == 1 && std::getenv("NO_COLOR") == nullptr;
  const bool is_whole =
      is_binary || style.amounts.elements > kElements || style.amounts.bytes > kBytes;
  const trace::Tracer::Options options = {
      .follows = arguments.Has("follow"), .reading = reading, .most = is_whole ? kMost : kShown};
  trace::Tracer* running = nullptr;
  trace::StoreNames store([&](pid_t process) { return running->Traces(process); });
  trace::DomainNames names;
  if (arguments.Has("names")) {
    names = [&](std::uint16_t domain) { return store.NameOf(domain); };
  }
  Output output(to, style, filter, !arguments.Has("summary-only") && !is_binary, names);
  std::unique_ptr<trace::RecordingWriter> recording;
  if (is_binary) recording = std::make_unique<trace::RecordingWriter>(to, reading);

  // What cannot be written ends the trace, not the program.
  absl::Status written;
  const auto check = [&](absl::Status status) {
    if (written.ok() && !status.ok()) {
      written = status;
      absl::FPrintF(stderr, "xencomm trace: %s\n", written.message());
    }
  };
  const bool is_quiet = arguments.Has("quiet");
  const auto tell_call = [&](CapturedCall& call) {
    if (!written.ok()) return;
    if (recording != nullptr) {
      bool is_shown = false;
      for (const DescribedCall& each : Describe(call, reading, {0, 0})) {
        is_shown |= filter.Shows(each);
      }
      if (is_shown) check(recording->Write(call));
      return;
    }
    output.Show(call, reading);
    check(output.Flush());
  };
  const auto tell_event = [&](const trace::TracedProcess& process, const std::string& event) {
    const bool has_ended = absl::StartsWith(event, "exited") || absl::StartsWith(event, "killed");
    // What is left of it ends by itself, or the trace does by a signal.
    if (has_ended && process.id == running->started()) HandleSignals(0);
    if (event == "attached" || event == "detached") {
      if (!is_quiet) absl::FPrintF(stderr, "xencomm trace: process %d %s\n", process.id, event);
      return;
    }
    if (!has_ended) {
      absl::FPrintF(stderr, "xencomm trace: process %d %s\n", process.id, event);
      return;
    }
    if (!is_quiet && recording == nullptr && written.ok()) {
      output.Show(static_cast<std::uint64_t>(absl::ToUnixNanos(absl::Now())), process, event);
      check(output.Flush());
    }
  };
  trace::Tracer tracer(options, {.call = tell_call, .event = tell_event});
  running = &tracer;
  if (processes.empty()) {
    const absl::Status started = tracer.Start(arguments.operands().data());
    if (absl::IsNotFound(started) || absl::IsPermissionDenied(started)) {
      absl::FPrintF(stderr, "xencomm trace: %s\n", started.message());
      return absl::IsNotFound(started) ? 127 : 126;
    }
    if (!started.ok()) return started;
  }
  LeaveNoCore();
  HandleSignals(tracer.started());
  absl::Status attached;
  for (const pid_t process : processes) {
    attached = tracer.Attach(process);
    if (!attached.ok()) break;
  }
  const int status = tracer.Run([&] { return end_asked != 0 || !attached.ok(); });
  if (!attached.ok()) return attached;
  if (!is_binary && (arguments.Has("summary-only") || arguments.Has("summary"))) {
    output.ShowSummary();
    check(output.Flush());
  }
  file->reset();
  if (!written.ok() && processes.empty() && WIFEXITED(status) && WEXITSTATUS(status) == 0) return 1;
  return processes.empty() ? EndAs(status) : written.ok() ? 0 : 1;
}

}  // namespace

Command TraceCommand() {
  return {
      .name = "trace",
      .summary = "Show the hypercalls of a program, as strace shows system calls",
      .description =
          "Each line is a call: when, which process, the hypercall and its op by name, what it was "
          "given and what it answered, field by field, its result, and how long it took. Numbers "
          "that have names are shown by them, bitmaps as ranges; what the call has changed is "
          "shown as \"before => after\". A call that is made inside a multicall is shown as "
          "itself. What the op table does not know, an op, an interface version, a pointer that "
          "leads nowhere, is shown as it is, and why behind it. The other calls of Xen's devices "
          "(privcmd, gntdev, gntalloc, evtchn) are shown, too.\n\n"
          "The program is watched from outside (ptrace), whatever it is made of: static ones, "
          "those in Go or Rust, and, for root, setuid ones. A PROGRAM that is started here stops "
          "at Xen's calls only, by a filter of system calls (seccomp) that stays with it: it is "
          "traced until it ends, and what stops this command is passed on to it; if this is "
          "killed, so is the program. What it leaves behind, a daemon, is traced until that ends, "
          "too, or until a signal ends the trace: then that runs on, but its system calls to Xen's "
          "devices fail (ENOSYS), as after strace --seccomp-bpf. Who is not root gives it no "
          "further rights, as with strace: "
          "a setuid program runs as its user. With -p a process stops at every system call, which "
          "takes time, and goes on alone when this ends: at ^C, say.\n\n"
          "libxencall keeps its buffers in memory of a device (/dev/xen/hypercall), which nobody "
          "else can read: the program is made to copy them, by system calls of its own, in pages "
          "that are put into it. A program that filters its own system calls is not made to, and "
          "that is said. On real Xen what a call does meanwhile (continuations) is not seen.\n\n"
          "On a machine, and where the hypervisor is in the program's own process, no system call "
          "carries a hypercall: the library announces them, for which XENCOMM_TRACED is set in "
          "the environment of PROGRAM, or a word in the memory of a process that is attached to. "
          "What that executes afterwards announces nothing. Programs below xencomm run --static "
          "get no memory of /dev/xen/hypercall while a debugger holds them, and this is one.",
      .options =
          {{.name = "attach",
            .value = "PID",
            .help = "trace this process; several, with commas or more options",
            .letter = 'p'},
           {.name = "follow",
            .value = "",
            .help = "threads and children, too, and what they execute",
            .letter = 'f'},
           {.name = "filter",
            .value = "EXPR",
            .help = "only calls of these names (domctl, memory_op.populate_physmap, "
                    "hypercall, privcmd, gntdev), of a domain (dom=3), or that failed "
                    "(failed); with commas between them; ! in front: all others. More "
                    "options: names add to one another, all else holds besides",
            .letter = 'e'},
           {.name = "summary-only",
            .value = "",
            .help = "no lines, but a table at the end: times, counts, errors",
            .letter = 'c'},
           {.name = "summary", .value = "", .help = "the table behind the lines", .letter = 'C'},
           {.name = "output",
            .value = kFileValue,
            .help = "write there, and not to standard error",
            .letter = 'o'},
           {.name = "binary",
            .value = "",
            .help = "all bytes that were read and written, for --read",
            .with = "output"},
           {.name = "read",
            .value = kFileValue,
            .help = "show what --binary wrote, on standard output"},
           {.name = "time",
            .value = "",
            .help = "the time of day in seconds; twice: in microseconds, as without it",
            .letter = 't'},
           {.name = "relative", .value = "", .help = "the time since the last line", .letter = 'r'},
           {.name = "durations",
            .value = "",
            .help = "how long each call took, with -qq, too",
            .letter = 'T'},
           {.name = "string-limit",
            .value = "SIZE",
            .help = "so many bytes of a text, and elements of a list (32, and 8)",
            .takes = Range{},
            .letter = 's'},
           {.name = "no-abbrev", .value = "", .help = "all of them", .letter = 'v'},
           {.name = "quiet",
            .value = "",
            .help = "nothing of processes that are attached to or end; twice: the calls "
                    "alone, without time, process and duration",
            .letter = 'q'},
           {.name = "names",
            .value = "",
            .help = "domains with their names, as the store has them; it is not asked while "
                    "its daemon is traced",
            .letter = 'y'},
           {.name = "json",
            .value = "",
            .help = "a line of JSON for each call, not cut, and for each process that ends"},
           {.name = "release",
            .value = "RELEASE",
            .help = "read calls as this release of Xen has them, and not as the Xen below; "
                    "4.17 and later"}},
      .runs_program = true,
      .instead_of_program = {"attach", "read"},
      .examples = {{"Why a domain cannot be created.",
                    "xencomm trace -f -e failed -- xl create guest.cfg"},
                   {"What a running daemon asks of Xen, counted until ^C.",
                    "xencomm trace -c -p 1234"},
                   {"All bytes of a session, and the calls of domain 3 among them.",
                    "xencomm trace -f -o t --binary -- xl list; xencomm trace --read=t -e dom=3"}},
      .run = RunTrace,
  };
}

}  // namespace xencomm::tools
