// Writes the JSON export, for schema_json_test.py to read.
#include <cstdio>
#include <string>

#include "hcall/schema/json.h"

int main() {
  const std::string json = xencomm::schema::ExportJson();
  return std::fwrite(json.data(), 1, json.size(), stdout) == json.size() ? 0 : 1;
}
