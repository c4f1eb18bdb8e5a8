// Rows of the report: something small that is done over and over.
//
// The same body is timed by Google Benchmark and, under callgrind, counted in instructions. It is
// inlined into the loop that repeats it, so that a row costs what its body costs.
#ifndef BENCH_ROWS_H_
#define BENCH_ROWS_H_

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace xencomm::bench {

class Rows {
 public:
  // `name`: group/…/bytes, as bench/report.py reads it.
  template <class Body>
  void Add(std::string name, Body body) {
    rows_.push_back({std::move(name),
                     [body](benchmark::State& state) mutable {
                       for ([[maybe_unused]] auto turn : state) body();
                     },
                     [body](unsigned times) mutable {
                       for (unsigned i = 0; i < times; ++i) body();
                     }});
  }

  // Both take Google Benchmark's own arguments for what to run.
  void Time() const;
  // Under `valgrind --tool=callgrind --collect-atstart=no`: one dump a row, named after it, of
  // kTurns turns.
  void CountInstructions() const;

  static constexpr unsigned kTurns = 100;

 private:
  struct Row {
    std::string name;
    std::function<void(benchmark::State&)> time;
    std::function<void(unsigned)> repeat;
  };
  std::vector<Row> rows_;
};

void AddCopies(Rows& rows);
void AddAllocations(Rows& rows);
void AddAudits(Rows& rows);

}  // namespace xencomm::bench

#endif  // BENCH_ROWS_H_
