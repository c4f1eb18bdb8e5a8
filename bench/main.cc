// xencomm_bench [Google Benchmark's options]   times all rows
// xencomm_bench --instructions                 repeats them for callgrind (bench/report.py)
#include <benchmark/benchmark.h>
#include <valgrind/callgrind.h>

#include <cstdio>
#include <cstring>

#include "bench/rows.h"

namespace xencomm::bench {

void Rows::Time() const {
  for (const Row& row : rows_) benchmark::RegisterBenchmark(row.name.c_str(), row.time);
  benchmark::RunSpecifiedBenchmarks();
}

void Rows::CountInstructions() const {
  for (const Row& row : rows_) {
    row.repeat(2);  // what happens once is not a turn's
    CALLGRIND_ZERO_STATS;
    CALLGRIND_TOGGLE_COLLECT;
    row.repeat(kTurns);
    CALLGRIND_TOGGLE_COLLECT;
    CALLGRIND_DUMP_STATS_AT(row.name.c_str());
  }
}

}  // namespace xencomm::bench

int main(int argc, char** argv) {
  xencomm::bench::Rows rows;
  xencomm::bench::AddCopies(rows);
  xencomm::bench::AddAllocations(rows);
  xencomm::bench::AddAudits(rows);
  if (argc == 2 && std::strcmp(argv[1], "--instructions") == 0) {
    rows.CountInstructions();
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  rows.Time();
  return 0;
}
