// schema-compiler TABLE ROWS: joins layout and meaning, and writes generated/table.cc and
// generated/rows.h.
//
// It runs on the machine that builds, once, so that what runs in the hypervisor is constant data,
// and so that a field, an op or a pointer without a meaning is a message in words and a failed
// build.
#include <cstdio>
#include <fstream>
#include <string>

#include "hcall/schema/compiler/check.h"
#include "hcall/schema/compiler/emit.h"
#include "hcall/schema/compiler/resolve.h"

int main(int argc, char** argv) {
  using namespace xencomm::schema::compiler;
  if (argc != 3) {
    std::fprintf(stderr, "usage: schema-compiler TABLE ROWS\n");
    return 2;
  }
  Errors errors;
  const ResolvedTable table = Resolve(errors);
  if (errors.empty()) Check(table, errors);
  if (!errors.empty()) {
    for (const std::string& message : errors.messages()) {
      std::fprintf(stderr, "op table: %s\n", message.c_str());
    }
    return 1;
  }
  std::ofstream(argv[1]) << EmitTable(table);
  std::ofstream(argv[2]) << EmitRows(table);
  return 0;
}
