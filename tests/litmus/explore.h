// Explore: runs a small program of two or three threads in every way that C++'s memory model lets
// it go, so far as a bound reaches, whatever the processor under the test does.
//
// The library's sources are compiled as they are, with the thread sanitizer's instrumentation, and
// linked with a run time of our own (memory_model.cc) in place of the sanitizer's. That makes
// threads fibers of one thread, and asks here what comes next: which thread takes a step, and which
// of the values a location has had an atomic load reads.
//
// Rules:
// 1. Every choice has one plain answer: the same thread goes on, a load reads what was written
//    last. Any other is a surprise. All executions with at most so many surprises are run, fewest
//    first; nothing is random.
// 2. An execution fails when two threads use plain memory without an order between them and one of
//    them writes (C++'s data race; fences count), when Require does, and when no thread can go on.
// 3. Each order of an atomic operation that the program reaches is then made weaker, one at a time,
//    in the instrumentation, not in the source; the report (orders.py) says which of them a program
//    notices. What no program notices is either not needed or not tested.
//
// What it does not do: a load never reads a value that is written later on, and all threads agree
// with the order in which stores to one location were run.
#ifndef TESTS_LITMUS_EXPLORE_H_
#define TESTS_LITMUS_EXPLORE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace xencomm::litmus {

inline constexpr unsigned kMostThreads = 3;

struct Program {
  std::function<void()> begin;                 // before there are threads; makes all as new
  std::vector<std::function<void()>> threads;  // at most kMostThreads
  std::function<void()> end;                   // after them
  // A thread-local variable, which threads here would share: each has one of its own, that says
  // first which thread it is.
  std::uint32_t* own = nullptr;
};

// Fails the test that runs when an execution fails. One that takes long, and notices no weaker
// order that shorter ones do not, is run as it is only.
enum class Orders { kAlsoWeaker, kAsTheyAre };
void Explore(const Program& program, unsigned surprises = 3, Orders orders = Orders::kAlsoWeaker);

// What a thread knows of the others at some moment of an execution.
using Moment = std::array<std::uint16_t, kMostThreads>;
Moment Now();
// Whether all that others have written there, by the end of the execution, is ordered before it.
bool IsWrittenBefore(const Moment& moment, const void* start, std::size_t bytes);

// In an execution: ends it as a failed one unless `is_so`.
void Require(bool is_so, const char* what);

}  // namespace xencomm::litmus

#endif  // TESTS_LITMUS_EXPLORE_H_
