// Rows of the report: something small that is done over and over.
//
// The same body is timed by Google Benchmark and, under callgrind, counted in instructions. It is
// inlined into the loop that repeats it, so that a row costs what its body costs.
#ifndef BENCH_ROWS_H_
#define BENCH_ROWS_H_

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hcall/hypervisor/memory/frame_heap.h"

namespace xencomm::bench {

struct RowOptions {
  bool counted = true;  // false: so long that it is timed only
  unsigned threads = 1;
  // What is known of it besides, by name.
  std::map<std::string, double> facts = {};
};

// Hides a value from the compiler, as a call from elsewhere would: which space it is, how many
// bytes. In a register: Google Benchmark's own way, which leaves the choice, is miscompiled.
template <class T>
T Hidden(T value) {
  static_assert(sizeof(T) == sizeof(void*));
  asm volatile("" : "+r"(value));
  return value;
}

class Rows {
 public:
  // `name`: group/…/bytes, as bench/report.py reads it. Where several threads do it at once, `body`
  // is called by all of them.
  template <class Body>
  void Add(std::string name, Body body, const RowOptions& options = {}) {
    rows_.push_back({std::move(name),
                     [body, facts = options.facts](benchmark::State& state) mutable {
                       for ([[maybe_unused]] auto turn : state) body();
                       for (const auto& [fact, value] : facts) state.counters[fact] = value;
                     },
                     [body](unsigned times) mutable {
                       for (unsigned i = 0; i < times; ++i) body();
                     },
                     options});
  }

  // Takes Google Benchmark's own arguments for what to run. The time of a turn is the processor's,
  // whichever thread's turn it is; the name of a row of several threads ends in /threads: and their
  // number.
  void Time() const;
  // Under `valgrind --tool=callgrind --collect-atstart=no`: one dump a row, named after it, of
  // kTurns turns, which the threads share out.
  void CountInstructions(std::string_view prefix) const;

  // Whole runs of pages, which are cleared at once: a page each turn costs every row the same.
  static constexpr unsigned kTurns = 96;
  static_assert(kTurns % hypervisor::FrameHeap::kRunPages == 0);

 private:
  struct Row {
    std::string name;
    std::function<void(benchmark::State&)> time;
    std::function<void(unsigned)> repeat;
    RowOptions options;
  };
  std::vector<Row> rows_;
};

void AddCopies(Rows& rows);
void AddAllocations(Rows& rows);
void AddAudits(Rows& rows);
void AddCalls(Rows& rows);
void AddEnter(Rows& rows);
void AddScale(Rows& rows);

}  // namespace xencomm::bench

#endif  // BENCH_ROWS_H_
