#include "tests/litmus/explorer.h"

#include <algorithm>
#include <cstdio>
#include <istream>
#include <ostream>
#include <utility>

#include <gtest/gtest.h>

extern "C" const char __executable_start;

namespace xencomm::litmus {
namespace {

// What addresses in reports count from: the program may lie anywhere.
std::uintptr_t Start() { return reinterpret_cast<std::uintptr_t>(&__executable_start); }

}  // namespace

Explorer& Explorer::Get() {
  static Explorer explorer;
  return explorer;
}

int Explorer::OrderAt(const Site& site) {
  reached_.insert(site);
  if (weakened_ == nullptr) return site.order;
  const auto weaker = weakened_->find(site);
  return weaker == weakened_->end() ? site.order : weaker->second;
}

// ---- Threads

void Explorer::Enter(unsigned thread) {
  Explorer& self = Get();
  self.is_watching_ = true;
  self.program_->threads[thread]();
  self.is_watching_ = false;
  self.threads_[thread].is_done = true;
  self.Next();
}

bool Explorer::CanGoOn(const Thread& thread) {
  if (thread.is_done) return false;
  if (thread.mutex != nullptr) return !mutexes_[thread.mutex].is_held;
  return thread.spins < kSpins || memory_.LastOf(thread.location) != thread.store;
}

void Explorer::SwitchTo(unsigned thread) {
  if (thread == current_) return;
  ucontext_t& from = threads_[current_].context;
  if (program_->own != nullptr) {
    threads_[current_].own = std::exchange(*program_->own, threads_[thread].own);
  }
  current_ = thread;
  swapcontext(&from, &threads_[thread].context);
}

// The current thread cannot go on, or is done: whichever can comes next.
void Explorer::Next() {
  std::array<unsigned, kMostThreads> able;
  unsigned count = 0;
  bool all_done = true;
  for (unsigned i = 0; i < program_->threads.size(); ++i) {
    all_done = all_done && threads_[i].is_done;
    if (CanGoOn(threads_[i])) able[count++] = i;
  }
  if (all_done) setcontext(&alone_);
  if (count == 0) Fail("no thread can go on");
  SwitchTo(able[choices_.Choose(count)]);
}

// Before each operation that others can notice.
void Explorer::Step() {
  if (++steps_ == kMostSteps) Fail("it does not end");
  std::array<unsigned, kMostThreads> able = {current_};
  unsigned count = 1;
  for (unsigned i = 0; i < program_->threads.size(); ++i) {
    if (i != current_ && CanGoOn(threads_[i])) able[count++] = i;
  }
  SwitchTo(able[choices_.Choose(count)]);
}

void Explorer::Fail(const std::string& what) {
  is_watching_ = false;
  failure_ = what;
  // Threads stay where they are.
  setcontext(&alone_);
}

bool Explorer::RunOnce(const Program& program) {
  ++executions_;
  program_ = &program;
  failure_.clear();
  if (program.begin) program.begin();
  memory_.Reset();
  mutexes_.clear();
  steps_ = 0;
  current_ = 0;
  for (unsigned i = 0; i < program.threads.size(); ++i) {
    Thread& thread = threads_[i];
    thread.stack.resize(kStackBytes);
    thread.is_done = false;
    thread.location = ~0u;
    thread.spins = 0;
    thread.mutex = nullptr;
    thread.own = i;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = kStackBytes;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, reinterpret_cast<void (*)()>(Enter), 1, i);
  }
  volatile bool has_run = false;
  getcontext(&alone_);
  if (!has_run) {
    has_run = true;
    current_ = choices_.Choose(static_cast<unsigned>(program.threads.size()));
    if (program.own != nullptr) *program.own = current_;
    setcontext(&threads_[current_].context);
  }
  if (failure_.empty() && program.end) program.end();
  return failure_.empty();
}

// ---- Operations

void Explorer::Touch(std::uintptr_t start, std::size_t bytes, MemoryModel::Access access) {
  if (!memory_.Touch(current_, start, bytes, access)) Fail("a race");
}

unsigned Explorer::BeginAtomic(std::uintptr_t start, std::size_t bytes,
                               MemoryModel::Access access) {
  Step();
  Touch(start, bytes, access);
  const unsigned location = memory_.LocationAt(start, bytes);
  Thread& self = threads_[current_];
  if (access != MemoryModel::kAtomicRead || self.location != location) {
    self.location = ~0u;
    self.spins = 0;
  }
  return location;
}

std::size_t Explorer::ChooseStore(unsigned location, std::size_t oldest) {
  Thread& self = threads_[current_];
  // A thread that waits sees what is new in the end.
  if (self.spins == kSpins) oldest = self.store + 1;
  const std::size_t last = memory_.LastOf(location);
  const std::size_t store = last - choices_.Choose(static_cast<unsigned>(last - oldest + 1));
  self.spins = self.location == location && self.store == store ? self.spins + 1 : 0;
  self.location = location;
  self.store = store;
  return store;
}

std::uint64_t Explorer::Load(std::uintptr_t start, std::size_t bytes, const Site& site) {
  const int order = OrderAt(site);
  Thread& self = threads_[current_];
  // It has read the same again and again: it waits for another value.
  if (self.spins == kSpins && !CanGoOn(self)) Next();
  const unsigned location = BeginAtomic(start, bytes, MemoryModel::kAtomicRead);
  const std::size_t store = ChooseStore(location, memory_.OldestFor(current_, location, order));
  memory_.Read(current_, location, store, order);
  return memory_.store(location, store).value;
}

void Explorer::StoreNow(std::uintptr_t start, std::size_t bytes, unsigned location,
                        std::uint64_t value, int order, bool reads) {
  memory_.Write(current_, location, value, order, reads);
  Poke(start, bytes, value);
}

void Explorer::Store(std::uintptr_t start, std::size_t bytes, std::uint64_t value,
                     const Site& site) {
  const int order = OrderAt(site);
  const unsigned location = BeginAtomic(start, bytes, MemoryModel::kAtomicWrite);
  StoreNow(start, bytes, location, value, order, false);
}

std::uint64_t Explorer::Exchange(std::uintptr_t start, std::size_t bytes, std::uint64_t expected,
                                 std::uint64_t value, const Site& site, const Site& failed) {
  const int order = OrderAt(site);
  const int failed_order = OrderAt(failed);
  const unsigned location = BeginAtomic(start, bytes, MemoryModel::kAtomicWrite);
  const std::size_t last = memory_.LastOf(location);
  // One that finds an old value fails; the last value is what it can succeed with.
  const std::size_t oldest = memory_.OldestFor(current_, location, failed_order);
  std::size_t store = last - choices_.Choose(static_cast<unsigned>(last - oldest + 1));
  if (memory_.store(location, store).value == expected) store = last;
  const std::uint64_t found = memory_.store(location, store).value;
  const bool is_done = found == expected;
  memory_.Read(current_, location, store, is_done ? order : failed_order);
  if (is_done) StoreNow(start, bytes, location, value, order, true);
  return found;
}

void Explorer::Fence(const Site& site) {
  const int order = OrderAt(site);
  Step();
  memory_.Fence(current_, order);
}

void Explorer::Lock(const void* mutex) {
  Step();
  Thread& self = threads_[current_];
  self.mutex = mutex;
  if (!CanGoOn(self)) Next();
  self.mutex = nullptr;
  MutexState& state = mutexes_[mutex];
  state.is_held = true;
  memory_.Acquire(current_, state.released);
}

void Explorer::Unlock(const void* mutex) {
  mutexes_[mutex] = {false, memory_.Release(current_)};
  Step();
}

// ---- Executions

void Explorer::NoteReached() { all_reached_.insert(reached_.begin(), reached_.end()); }

std::string Explorer::Explore(const Program& program, unsigned surprises) {
  reached_.clear();
  for (unsigned most = 0; most <= surprises; ++most) {
    choices_.Begin(most);
    do {
      if (!RunOnce(program)) return failure_;
    } while (choices_.Next());
  }
  return {};
}

void Explorer::ExploreWeakened(const Program& program, unsigned surprises,
                               const std::string& name) {
  const std::set<Site> sites = reached_;
  for (const auto& [group, weakening] : weakenings_) {
    const auto is_reached = [&](const auto& each) { return sites.contains(each.first); };
    if (noticed_.contains(group) || std::ranges::none_of(weakening, is_reached)) continue;
    weakened_ = &weakening;
    const std::string failure = Explore(program, surprises);
    if (!failure.empty()) noticed_[group] = name + ": " + failure;
  }
  weakened_ = nullptr;
}

void Explorer::ReadWeakenings(std::istream& from) {
  std::uintptr_t place;
  int kind, order, weaker;
  unsigned group;
  while (from >> std::hex >> place >> std::dec >> kind >> order >> weaker >> group) {
    weakenings_[group][{Start() + place, static_cast<Site::Kind>(kind), order}] = weaker;
  }
}

void Explorer::Report(std::ostream& to) const {
  for (const Site& site : all_reached_) {
    to << "reached\t" << std::hex << site.place - Start() << std::dec << '\t' << int{site.kind}
       << '\t' << site.order << '\n';
  }
  for (const auto& [group, by] : noticed_) to << "noticed\t" << group << '\t' << by << '\n';
}

void Explore(const Program& program, unsigned surprises, Orders orders) {
  Explorer& explorer = Explorer::Get();
  const std::uint64_t before = explorer.executions();
  const std::string failure = explorer.Explore(program, surprises);
  EXPECT_EQ(failure, "");
  const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
  std::fflush(stdout);
  std::printf("%s: %llu executions\n", name.c_str(),
              static_cast<unsigned long long>(explorer.executions() - before));
  explorer.NoteReached();
  if (orders == Orders::kAlsoWeaker) explorer.ExploreWeakened(program, surprises, name);
}

Moment Now() { return Explorer::Get().Now(); }

bool IsWrittenBefore(const Moment& moment, const void* start, std::size_t bytes) {
  return Explorer::Get().memory().IsWrittenBefore(moment, reinterpret_cast<std::uintptr_t>(start),
                                                  bytes);
}

void Require(bool is_so, const char* what) {
  if (!is_so) Explorer::Get().Fail(what);
}

}  // namespace xencomm::litmus
