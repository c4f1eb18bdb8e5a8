// Explorer: the threads of the program that is explored, and what the instrumentation asks.
#ifndef TESTS_LITMUS_EXPLORER_H_
#define TESTS_LITMUS_EXPLORER_H_

#include <ucontext.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/litmus/choices.h"
#include "tests/litmus/explore.h"
#include "tests/litmus/memory_model.h"

namespace xencomm::litmus {

// An order that the instrumented code asks for: at a place of the code, of one of its operations.
struct Site {
  enum Kind : std::uint8_t { kLoad, kStore, kUpdate, kFailedUpdate, kFence };

  std::uintptr_t place;  // where the call of the instrumentation returns to
  Kind kind;
  int order;

  friend auto operator<=>(const Site&, const Site&) = default;
};

class Explorer {
 public:
  static Explorer& Get();

  // Whether it is a thread of the program that asks, and not, say, this Explorer, whose own code
  // calls instrumented functions of the C++ library.
  bool is_watching() const { return is_watching_; }

  // While one is there, the Explorer answers.
  class Answering {
   public:
    Answering() { Get().is_watching_ = false; }
    ~Answering() { Get().is_watching_ = true; }
  };

  void Touch(std::uintptr_t start, std::size_t bytes, MemoryModel::Access access);

  std::uint64_t Load(std::uintptr_t start, std::size_t bytes, const Site& site);
  void Store(std::uintptr_t start, std::size_t bytes, std::uint64_t value, const Site& site);
  // `change(old)` is the new value; returns the old one.
  template <class Change>
  std::uint64_t Update(std::uintptr_t start, std::size_t bytes, const Site& site, Change change) {
    const int order = OrderAt(site);
    const unsigned location = BeginAtomic(start, bytes, MemoryModel::kAtomicWrite);
    const std::uint64_t old = Peek(start, bytes);
    memory_.Read(current_, location, memory_.LastOf(location), order);
    StoreNow(start, bytes, location, change(old), order, true);
    return old;
  }
  // Returns what was found, which is `expected` when it succeeded.
  std::uint64_t Exchange(std::uintptr_t start, std::size_t bytes, std::uint64_t expected,
                         std::uint64_t value, const Site& site, const Site& failed);
  void Fence(const Site& site);
  void Lock(const void* mutex);
  void Unlock(const void* mutex);
  void Fail(const std::string& what);

  // What failed in any execution with at most so many surprises; empty when nothing did.
  std::string Explore(const Program& program, unsigned surprises);
  void NoteReached();
  // Explores with one order weakened after the other, but for those that were noticed before.
  void ExploreWeakened(const Program& program, unsigned surprises, const std::string& name);

  // Which orders to weaken, and what became of them (orders.py); lines of words with tabs between.
  void ReadWeakenings(std::istream& from);
  void Report(std::ostream& to) const;

  MemoryModel& memory() { return memory_; }
  Moment Now() const { return memory_.NowOf(current_); }
  std::uint64_t executions() const { return executions_; }

 private:
  static constexpr std::size_t kStackBytes = std::size_t{1} << 18;
  static constexpr unsigned kMostSteps = 20000;
  // A thread that has read the same from one location so often in a row waits for another value.
  static constexpr unsigned kSpins = 3;

  struct Thread {
    ucontext_t context;
    std::vector<std::byte> stack;
    bool is_done = false;
    // What it last did, if that was to load; and whether it waits for a newer store there.
    unsigned location = ~0u;
    std::size_t store = 0;
    unsigned spins = 0;
    const void* mutex = nullptr;  // that it waits for
    std::uint32_t own = 0;        // while another thread runs
  };
  struct MutexState {
    bool is_held = false;
    View released;
  };

  static void Enter(unsigned thread);
  bool RunOnce(const Program& program);
  int OrderAt(const Site& site);
  bool CanGoOn(const Thread& thread);
  void Step();
  void SwitchTo(unsigned thread);
  void Next();
  unsigned BeginAtomic(std::uintptr_t start, std::size_t bytes, MemoryModel::Access access);
  std::size_t ChooseStore(unsigned location, std::size_t oldest);
  void StoreNow(std::uintptr_t start, std::size_t bytes, unsigned location, std::uint64_t value,
                int order, bool reads);

  MemoryModel memory_;
  Choices choices_;
  const Program* program_ = nullptr;
  std::array<Thread, kMostThreads> threads_;
  std::map<const void*, MutexState> mutexes_;
  ucontext_t alone_;
  unsigned current_ = 0;
  unsigned steps_ = 0;
  bool is_watching_ = false;
  std::string failure_;
  std::uint64_t executions_ = 0;

  std::set<Site> reached_;  // by the program under way
  std::set<Site> all_reached_;
  // Sites and weaker orders, by groups: those that one line of the source has become.
  std::map<unsigned, std::map<Site, int>> weakenings_;
  std::map<unsigned, std::string> noticed_;  // by which program
  const std::map<Site, int>* weakened_ = nullptr;
};

}  // namespace xencomm::litmus

#endif  // TESTS_LITMUS_EXPLORER_H_
