// What a StoreConnection answers to each request.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "absl/strings/str_format.h"
#include "hcall/machine/store/store_connection.h"

namespace xencomm::machine {
namespace {

bool IsForDomain0(std::uint32_t type) {
  switch (type) {
    case XS_CONTROL:
    case XS_INTRODUCE:
    case XS_RELEASE:
    case XS_IS_DOMAIN_INTRODUCED:
    case XS_RESUME:
    case XS_SET_TARGET:
      return true;
    default:
      return false;
  }
}

bool IsKnown(std::uint32_t type) {
  return type <= XS_SET_PERMS || (type >= XS_IS_DOMAIN_INTRODUCED && type <= XS_SET_TARGET) ||
         type == XS_RESET_WATCHES || type == XS_DIRECTORY_PART;
}

// As atoi: a number with whatever behind it, and 0 for none.
std::uint32_t Number(const std::string& text) {
  return static_cast<std::uint32_t>(std::strtol(text.c_str(), nullptr, 10));
}

void Close(std::string& text) { text.push_back('\0'); }

struct NamedQuota {
  const char* name;
  int Quotas::*quota;
  const char* what;
};
constexpr NamedQuota kQuotas[] = {
    {"nodes", &Quotas::nodes, "a domain's nodes"},
    {"watches", &Quotas::watches, "a domain's watches"},
    {"transactions", &Quotas::transactions, "a domain's transactions"},
    {"outstanding", &Quotas::outstanding, "a domain's unfinished requests"},
    {"transaction-nodes", &Quotas::transaction_nodes, "nodes that a transaction sees"},
    {"memory", &Quotas::memory, "a domain's memory, bytes"},
    {"node-size", &Quotas::node_size, "a node's size, bytes"},
    {"path-max", &Quotas::path, "a path's length"},
    {"permissions", &Quotas::permissions, "a node's permissions"},
};
constexpr NamedQuota kSoftQuotas[] = {
    {"memory", &Quotas::memory_warning, "a domain's memory, bytes, that is much"},
};

}  // namespace

int StoreConnection::Handle(const Message& message, const View& view, std::string& answer) {
  const std::uint32_t type = message.header.type;
  if (!IsKnown(type)) return ENOSYS;
  if (IsForDomain0(type) && domain() != 0) return EACCES;
  if (type == XS_WATCH || type == XS_UNWATCH) return Watch(message, type == XS_WATCH);

  View inside = view;
  const int error = store().FindTransaction(*this, message.header.tx_id, &inside.transaction);
  if (error != 0) return error;
  const auto with_path = [&](int (Store::*change)(const View&, std::string_view)) {
    const std::optional<std::string> path = message.OnlyString();
    return path.has_value() ? (store().*change)(inside, *path) : EINVAL;
  };
  switch (type) {
    case XS_CONTROL:
      return Control(message, answer);
    case XS_DIRECTORY:
      return Directory(message, inside, answer);
    case XS_DIRECTORY_PART:
      return DirectoryPart(message, inside, answer);
    case XS_READ:
      return Read(message, inside, answer);
    case XS_WRITE:
      return Write(message, inside);
    case XS_MKDIR:
      return with_path(&Store::MakeDirectory);
    case XS_RM:
      return with_path(&Store::Remove);
    case XS_GET_PERMS:
      return GetPermissions(message, inside, answer);
    case XS_SET_PERMS:
      return SetPermissions(message, inside);
    case XS_TRANSACTION_START:
      return StartTransaction(inside, answer);
    case XS_TRANSACTION_END:
      return EndTransaction(message, inside);
    case XS_INTRODUCE:
      return Introduce(message);
    case XS_SET_TARGET:
      return SetTarget(message);
    case XS_RESET_WATCHES:
      store().ResetWatches(*this);
      return 0;
    default:
      return OfDomain(message, answer);
  }
}

int StoreConnection::Directory(const Message& message, const View& view, std::string& answer) {
  const std::optional<std::string> path = message.OnlyString();
  const Node* node;
  const int error = path.has_value() ? store().Read(view, *path, &node) : EINVAL;
  if (error == 0) answer = node->children;
  return error;
}

// The node's generation, then as many whole names from an offset on as fit. A further zero says
// that these were the last.
int StoreConnection::DirectoryPart(const Message& message, const View& view, std::string& answer) {
  const std::vector<std::string> strings = message.Strings();
  if (strings.size() != 2) return EINVAL;
  const Node* node;
  const int error = store().Read(view, strings[0], &node);
  if (error != 0) return error;
  const std::string& all = node->children;
  const std::size_t begin = std::min<std::size_t>(Number(strings[1]), all.size());
  answer = std::to_string(node->generation);
  Close(answer);
  const std::size_t most = XENSTORE_PAYLOAD_MAX - answer.size() - 1;
  std::size_t end = begin;
  while (end < all.size()) {
    const std::size_t next = all.find('\0', end) + 1;
    if (next - begin > most) break;
    end = next;
  }
  answer.append(all, begin, end - begin);
  if (end == all.size()) Close(answer);
  return 0;
}

int StoreConnection::Read(const Message& message, const View& view, std::string& answer) {
  const std::optional<std::string> path = message.OnlyString();
  const Node* node;
  const int error = path.has_value() ? store().Read(view, *path, &node) : EINVAL;
  if (error == 0) answer = node->value;
  return error;
}

int StoreConnection::Write(const Message& message, const View& view) {
  const std::size_t end = message.payload.find('\0');
  if (end == std::string::npos) return EINVAL;
  const std::string_view payload = message.payload;
  return store().Write(view, payload.substr(0, end), payload.substr(end + 1));
}

int StoreConnection::GetPermissions(const Message& message, const View& view, std::string& answer) {
  const std::optional<std::string> path = message.OnlyString();
  const Node* node;
  const int error = path.has_value() ? store().Read(view, *path, &node) : EINVAL;
  if (error != 0) return error;
  answer.clear();
  for (const Permission& permission : node->permissions) {
    answer += ToString(permission);
    Close(answer);
  }
  return 0;
}

int StoreConnection::SetPermissions(const Message& message, const View& view) {
  const std::vector<std::string> strings = message.Strings();
  if (strings.size() < 2) return EINVAL;
  Permissions permissions;
  for (std::size_t i = 1; i < strings.size(); ++i) {
    const std::optional<Permission> permission = ParsePermission(strings[i]);
    if (!permission.has_value()) return EINVAL;
    permissions.push_back(*permission);
  }
  return store().SetPermissions(view, strings[0], std::move(permissions));
}

int StoreConnection::Watch(const Message& message, bool is_added) {
  const std::vector<std::string> strings = message.Strings();
  if (strings.size() != 2) return EINVAL;
  if (!is_added) return store().RemoveWatch(*this, strings[0], strings[1]);
  std::string first;
  const int error = store().AddWatch(*this, strings[0], strings[1], &first);
  if (error == 0) first_event_ = {first, strings[1]};
  return error;
}

int StoreConnection::StartTransaction(const View& view, std::string& answer) {
  if (view.transaction != nullptr) return EBUSY;
  std::uint32_t id;
  const int error = store().StartTransaction(*this, &id);
  if (error != 0) return error;
  answer = std::to_string(id);
  Close(answer);
  return 0;
}

int StoreConnection::EndTransaction(const Message& message, const View& view) {
  const std::optional<std::string> commit = message.OnlyString();
  if (commit != "T" && commit != "F") return EINVAL;
  if (view.transaction == nullptr) return ENOENT;
  return store().EndTransaction(*this, message.header.tx_id, view, commit == "T");
}

int StoreConnection::OfDomain(const Message& message, std::string& answer) {
  const std::optional<std::string> text = message.OnlyString();
  if (!text.has_value()) return EINVAL;
  const DomainId id = Number(*text);
  switch (message.header.type) {
    case XS_RELEASE:
      return store().Release(id);
    case XS_RESUME:
      return store().Resume(id);
    case XS_GET_DOMAIN_PATH:
      answer = HomeOf(id);
      break;
    default:
      answer.assign(1, store().IsIntroduced(id) ? 'T' : 'F');
      break;
  }
  Close(answer);
  return 0;
}

int StoreConnection::Introduce(const Message& message) {
  const std::vector<std::string> strings = message.Strings();
  if (strings.size() < 3) return EINVAL;
  return store().Introduce(Number(strings[0]), std::strtoull(strings[1].c_str(), nullptr, 10),
                           Number(strings[2]));
}

int StoreConnection::SetTarget(const Message& message) {
  const std::vector<std::string> strings = message.Strings();
  if (strings.size() < 2) return EINVAL;
  return store().SetTarget(Number(strings[0]), Number(strings[1]));
}

// As a xenstored that keeps no trace and cannot be replaced while it runs.
int StoreConnection::Control(const Message& message, std::string& answer) {
  std::vector<std::string> words = message.Strings();
  if (words.empty()) return EINVAL;
  const std::string command = words[0];
  words.erase(words.begin());
  if (command == "quota" || command == "quota-soft") {
    return ControlQuota(words, command == "quota-soft", answer);
  }
  if (command == "check") return words.empty() ? 0 : EINVAL;
  if (command == "print") return words.size() == 1 ? 0 : EINVAL;
  if (command == "log")
    return words.size() == 1 && (words[0] == "on" || words[0] == "off") ? 0 : EINVAL;
  if (command != "help" || !words.empty()) return EINVAL;
  answer =
      "check\t\nlog\ton|off\nprint\t<string>\nquota\t[set <name> <val>|<domid>]\n"
      "quota-soft\t[set <name> <val>]\nhelp\t\n";
  Close(answer);
  return 0;
}

int StoreConnection::ControlQuota(const std::vector<std::string>& words, bool is_soft,
                                  std::string& answer) {
  const std::span<const NamedQuota> quotas =
      is_soft ? std::span<const NamedQuota>(kSoftQuotas) : std::span<const NamedQuota>(kQuotas);
  Quotas& values = store().domains().quotas();
  if (words.empty()) {
    answer = "Quota settings:\n";
    for (const NamedQuota& named : quotas) {
      absl::StrAppendFormat(&answer, "%-17s: %8d %s\n", named.name, values.*named.quota,
                            named.what);
    }
    Close(answer);
    return 0;
  }
  if (words[0] == "set") {
    const auto value = words.size() == 3 ? static_cast<int>(Number(words[2])) : 0;
    const auto named = std::find_if(quotas.begin(), quotas.end(), [&](const NamedQuota& known) {
      return words.size() == 3 && words[1] == known.name;
    });
    if (value < 1 || named == quotas.end()) return EINVAL;
    values.*(named->quota) = value;
    return 0;
  }
  if (is_soft || words.size() != 1) return EINVAL;

  const DomainId id = Number(words[0]);
  const Domain* const record = store().domains().Find(id);
  if (record == nullptr) return ENOENT;
  answer = absl::StrFormat("Domain %u:\n", id);
  for (const auto& [name, value] : std::vector<std::pair<const char*, std::int64_t>>{
           {"nodes", record->entries},
           {"watches", record->watches},
           {"transactions", store().TransactionsOf(id)},
           {"outstanding", *record->outstanding},
           {"memory", *record->memory},
       }) {
    absl::StrAppendFormat(&answer, "%-16s: %8d\n", name, value);
  }
  Close(answer);
  return 0;
}

}  // namespace xencomm::machine
