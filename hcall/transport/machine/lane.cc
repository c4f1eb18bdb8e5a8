#include "hcall/transport/machine/lane.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace xencomm::machine {
namespace {

// Longer than a call across two processors takes, shorter than waking a sleeper.
constexpr std::int64_t kSpinNanoseconds = 5'000;
// Longer than it takes a sleeper to wake and answer. Would the one that has woken it sleep
// meanwhile, it would be woken in its turn, and so on with each call. So long, too, the machine
// waits for a client that calls again and again.
constexpr std::int64_t kLongSpinNanoseconds = 60'000;
// Looks at the clock are far between.
constexpr int kLooks = 64;
// What a sleep is at most, so that the end of the other side is noticed.
constexpr timespec kNap = {.tv_sec = 0, .tv_nsec = 200'000'000};

std::int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Shared between processes, so not FUTEX_PRIVATE_FLAG. The futex is the word itself.
void Sleep(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &kNap, nullptr, 0);
}
void WakeAll(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

void Lane::Write(const Call& call) {
  file_.store(call.file, std::memory_order_relaxed);
  index_.store(call.index, std::memory_order_relaxed);
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    arguments_[i].store(call.arguments[i], std::memory_order_relaxed);
  }
}

bool Lane::Next(Call* call, bool* is_busy) {
  const std::int64_t start = Now();
  if (!Wait(kMachines, machine_, client_, *is_busy ? kLongSpinNanoseconds : kSpinNanoseconds)) {
    *is_busy = false;
    return false;
  }
  *is_busy = Now() - start < kLongSpinNanoseconds;
  call->file = file_.load(std::memory_order_relaxed);
  call->index = index_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < call->arguments.size(); ++i) {
    call->arguments[i] = arguments_[i].load(std::memory_order_relaxed);
  }
  return true;
}

void Lane::Answer(const Answered& answered) {
  answer_.store(static_cast<std::uint64_t>(answered.answer), std::memory_order_relaxed);
  machine_.continuations.store(answered.continuations, std::memory_order_relaxed);
  Give(kClients, machine_, client_);
}

void Lane::Close() {
  turn_.store(kNobodys);
  WakeAll(turn_);
}

bool Lane::Give(Turn turn, Side& own, const Side& other) {
  own.processor.store(static_cast<std::uint32_t>(sched_getcpu()), std::memory_order_relaxed);
  // In one order with the other side's: it says that it sleeps, and then looks at the turn.
  turn_.store(turn);
  const bool sleeps = other.sleeps.load() != 0;
  if (sleeps) WakeAll(turn_);
  return sleeps;
}

bool Lane::WaitForAnswer(bool has_woken) {
  return Wait(kClients, client_, machine_, has_woken ? kLongSpinNanoseconds : kSpinNanoseconds);
}

bool Lane::Wait(Turn turn, Side& own, const Side& other, std::int64_t spin) {
  const auto is_turn = [&] { return turn_.load() == turn; };
  const auto processor = static_cast<std::uint32_t>(sched_getcpu());
  own.processor.store(processor, std::memory_order_relaxed);
  if (other.processor.load(std::memory_order_relaxed) != processor) {
    const std::int64_t end = Now() + spin;
    do {
      for (int i = 0; i < kLooks; ++i) {
        if (is_turn()) return true;
        Pause();
      }
    } while (Now() < end);
  }
  own.sleeps.store(1);
  if (!is_turn()) Sleep(turn_, turn == kClients ? kMachines : kClients);
  own.sleeps.store(0, std::memory_order_relaxed);
  return is_turn();
}

}  // namespace xencomm::machine
