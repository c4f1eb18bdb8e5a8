// Lane: a place in shared memory by which a client's thread makes calls, one after the other.
//
// The client writes the call's words and gives the turn; the machine's thread of this lane reads
// them once, makes the call, writes the answer and gives the turn back. Who waits spins for some
// microseconds while the other side runs on another processor, where an answer comes sooner than a
// sleeper could be woken (some more where calls follow one another, or the other side had to be
// woken itself), and sleeps at once where both are on the same one. A side wakes the other only if
// that says that it sleeps.
//
// The memory is the client's to write at any time: what the machine finds there may be anything and
// may change while it is read. The machine waits in a way that the client cannot make endless.
#ifndef HCALL_TRANSPORT_MACHINE_LANE_H_
#define HCALL_TRANSPORT_MACHINE_LANE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace xencomm::machine {

// Of a client.
inline constexpr unsigned kLanes = 16;

// What a call is answered that was not made, since the file that it came through is restricted to
// another domain, or to nothing like it. No hypercall answers so.
inline constexpr std::int64_t kRefusedByFile = std::numeric_limits<std::int64_t>::min();

class Lane {
 public:
  // A hypercall's index and arguments, and the device file that it comes through, or 0.
  struct Call {
    std::uint64_t file = 0;
    std::uint64_t index = 0;
    std::array<std::uint64_t, 5> arguments = {};
  };

  struct Answered {
    std::int64_t answer = 0;
    std::uint32_t continuations = 0;  // how often the call was continued
  };

  // By the client. False: the machine is gone; `is_gone` is asked from time to time.
  template <class IsGone>
  bool Make(const Call& call, Answered* answered, IsGone is_gone) {
    Write(call);
    const bool has_woken = Give(kMachines, client_, machine_);
    while (!WaitForAnswer(has_woken)) {
      if (is_gone()) return false;
    }
    answered->answer = static_cast<std::int64_t>(answer_.load(std::memory_order_relaxed));
    answered->continuations = machine_.continuations.load(std::memory_order_relaxed);
    return true;
  }

  // By the machine: true when there is a call, which was read; false when a while has passed.
  // `is_busy` is this lane's own between calls, false at first: whether the last one came soon.
  bool Next(Call* call, bool* is_busy);
  void Answer(const Answered& answered);

  // By the machine, whose thread then finds that it is to end: nobody's turn comes any more.
  void Close();

 private:
  // Whose turn it is.
  enum Turn : std::uint32_t { kClients = 0, kMachines = 1, kNobodys = 2 };

  // One side's, in a line of its own.
  struct alignas(64) Side {
    std::atomic<std::uint32_t> sleeps;
    std::atomic<std::uint32_t> processor;
    std::atomic<std::uint32_t> continuations;  // of the last answer; the machine's alone
  };

  void Write(const Call& call);
  // Whether the other side slept.
  bool Give(Turn turn, Side& own, const Side& other);
  // Until it is `turn`'s, or a while has passed: false. It spins for so many nanoseconds first.
  bool Wait(Turn turn, Side& own, const Side& other, std::int64_t spin);
  bool WaitForAnswer(bool has_woken);

  alignas(64) std::atomic<std::uint32_t> turn_;
  Side client_;
  Side machine_;
  alignas(64) std::atomic<std::uint64_t> file_;
  std::atomic<std::uint64_t> index_;
  std::atomic<std::uint64_t> arguments_[5];
  std::atomic<std::uint64_t> answer_;
};
// As the shared memory reads when it is new.
static_assert(sizeof(Lane) == 256 && std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace xencomm::machine

#endif  // HCALL_TRANSPORT_MACHINE_LANE_H_
