// A file that this process has mapped by way of a library that does not tell where: LMDB.
#pragma once

#include <span>
#include <string>

namespace capstan {

// Empty: it is not mapped, or there is no /proc to ask.
std::span<char> mapping_of(const std::string& path);

// Takes the mapped pages, as they are now, for this process alone: from here on nothing that is
// written there reaches the file, and no write waits for its disk. Where that fails all stays as it
// was.
void make_mapping_private(const std::string& path);

// Takes the pages of a file that is only read out of this process's memory, not out of the
// system's cache; touched again they are back.
void drop_pages(std::span<char> mapping);

}  // namespace capstan
