// xencomm_bench [Google Benchmark's options]   times all rows
// xencomm_bench --instructions[=PREFIX]        repeats for callgrind those that are counted, of
//                                              names that begin so
//
// Both are bench/report.py's.
#include <benchmark/benchmark.h>
#include <valgrind/callgrind.h>

#include <barrier>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/rows.h"

namespace xencomm::bench {

void Rows::Time() const {
  for (const Row& row : rows_) {
    auto* const registered = benchmark::RegisterBenchmark(row.name.c_str(), row.time);
    if (row.options.threads != 1) registered->Threads(static_cast<int>(row.options.threads));
  }
  benchmark::RunSpecifiedBenchmarks();
}

void Rows::CountInstructions(std::string_view prefix) const {
  for (const Row& row : rows_) {
    if (!row.options.counted || !row.name.starts_with(prefix)) continue;
    std::barrier together(row.options.threads);
    CALLGRIND_ZERO_STATS;
    {
      std::vector<std::jthread> threads;
      for (unsigned i = 0; i < row.options.threads; ++i) {
        threads.emplace_back([&] {
          row.repeat(2);  // what happens once is not a turn's
          together.arrive_and_wait();
          CALLGRIND_TOGGLE_COLLECT;  // of this thread alone
          row.repeat(kTurns / row.options.threads);
          CALLGRIND_TOGGLE_COLLECT;
          together.arrive_and_wait();
        });
      }
    }
    CALLGRIND_DUMP_STATS_AT(row.name.c_str());
  }
}

}  // namespace xencomm::bench

int main(int argc, char** argv) {
  xencomm::bench::Rows rows;
  xencomm::bench::AddCopies(rows);
  xencomm::bench::AddAllocations(rows);
  xencomm::bench::AddAudits(rows);
  xencomm::bench::AddCalls(rows);
  xencomm::bench::AddEnter(rows);
  xencomm::bench::AddScale(rows);
  constexpr std::string_view kInstructions = "--instructions";
  if (std::string_view what(argc == 2 ? argv[1] : ""); what.starts_with(kInstructions)) {
    what.remove_prefix(kInstructions.size());
    rows.CountInstructions(what.substr(what.starts_with('=') ? 1 : 0));
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  rows.Time();
  return 0;
}
