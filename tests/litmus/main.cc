// GoogleTest's main, for orders.py: the file that LITMUS_WEAKEN names says which orders to make
// weaker, and into the one that LITMUS_REPORT names comes what was reached, and what noticed that.

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/litmus/explorer.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  xencomm::litmus::Explorer& explorer = xencomm::litmus::Explorer::Get();
  if (const char* file = std::getenv("LITMUS_WEAKEN")) {
    std::ifstream weakenings(file);
    explorer.ReadWeakenings(weakenings);
  }
  const int failed = RUN_ALL_TESTS();
  if (const char* file = std::getenv("LITMUS_REPORT")) {
    std::ofstream report(file);
    explorer.Report(report);
  }
  return failed;
}
