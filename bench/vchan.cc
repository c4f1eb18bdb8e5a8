#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bench/sharing.h"

extern "C" {
#include <libxenvchan.h>
}

namespace xencomm::bench {
namespace {

constexpr std::size_t kPiece = 64 << 10;
constexpr std::size_t kTurnBytes = 1 << 20;
constexpr unsigned kTurns = 64;

// What the other end does until this one has gone: it reads, and says so after each turn's bytes.
template <class Read, class Answer>
[[noreturn]] void ReadAll(const Read& read, const Answer& answer) {
  std::vector<char> bytes(kPiece);
  for (std::size_t done = 0;;) {
    const auto got = read(bytes.data(), std::min(kPiece, kTurnBytes - done));
    if (got <= 0) _exit(0);
    done += static_cast<std::size_t>(got);
    if (done == kTurnBytes) {
      if (answer() != 1) _exit(0);
      done = 0;
    }
  }
}

template <class Write, class Hear>
bool Turn(const std::vector<char>& bytes, const Write& write, const Hear& hear) {
  for (std::size_t done = 0; done < kTurnBytes;) {
    const auto sent = write(bytes.data(), kPiece);
    if (sent <= 0) return false;
    done += static_cast<std::size_t>(sent);
  }
  return hear() == 1;
}

void MeasureSocket(const std::string& name) {
  int ends[2];
  Check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "there is no socket pair");
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    ReadAll([&](char* to, std::size_t bytes) { return read(ends[1], to, bytes); },
            [&] { return write(ends[1], "", 1); });
  }
  close(ends[1]);
  const std::vector<char> bytes(kPiece, 'a');
  char heard;
  Measure(name + "/plain", kTurns, [&] {
    return Turn(
        bytes, [&](const char* from, std::size_t count) { return write(ends[0], from, count); },
        [&] { return read(ends[0], &heard, 1); });
  });
  close(ends[0]);
  waitpid(child, nullptr, 0);
}

void MeasureChannel(const std::string& name, std::size_t ring) {
  const std::string path = "/local/domain/0/data/bench-vchan-" + std::to_string(ring);
  int ready[2];
  Check(pipe(ready) == 0, "there is no pipe");
  const pid_t child = fork();
  if (child == 0) {
    char word;
    if (read(ready[0], &word, 1) != 1) _exit(1);
    libxenvchan* const channel = libxenvchan_client_init(nullptr, 0, path.c_str());
    if (channel == nullptr) _exit(1);
    channel->blocking = -1;  // one bit, with a sign
    ReadAll([&](char* to, std::size_t bytes) { return libxenvchan_read(channel, to, bytes); },
            [&] { return libxenvchan_write(channel, "", 1); });
  }
  libxenvchan* const channel = libxenvchan_server_init(nullptr, 0, path.c_str(), ring, ring);
  Check(channel != nullptr && write(ready[1], "", 1) == 1, "there is no vchan");
  channel->blocking = -1;
  while (libxenvchan_is_open(channel) == 2) libxenvchan_wait(channel);
  const std::vector<char> bytes(kPiece, 'a');
  char heard;
  Measure(name + "/stock", kTurns, [&] {
    return Turn(
        bytes,
        [&](const char* from, std::size_t count) {
          return libxenvchan_write(channel, from, count);
        },
        [&] { return libxenvchan_read(channel, &heard, 1); });
  });
  libxenvchan_close(channel);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
}

}  // namespace

void MeasureVchan() {
  for (const std::size_t ring : {std::size_t{64} << 10, std::size_t{1} << 20}) {
    const std::string name = "send 1 MiB, vchan of " + std::to_string(ring >> 10) + " KiB";
    MeasureSocket(name);
    MeasureChannel(name, ring);
  }
}

}  // namespace xencomm::bench
