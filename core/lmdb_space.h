// Space that LMDB has freed, given back to the file system. LMDB keeps freed pages for itself, in a
// file that never shrinks; here long runs of them become holes in it, while everything goes on. A
// hole reads as zeros, but nobody reads a free page, and when LMDB takes one for use it writes it
// whole.
//
//   file   ██████░░░░░░░░░░░░░██░█████░░░░░░░░░░░░░░░░░░░███     █ in use   ░ free
//          ██████             ██░█████                   ███     punched
//
// Which pages: those that LMDB itself may overwrite now, and one commit older still. A page freed
// by transaction T is part of the state before T; it goes when no reader sees a state that old and
// when neither the last commit nor the one before it, to which a torn meta page would fall back,
// can be T.
//
// Cost   after a commit: two numbers and a walk over the heads of LMDB's free list. When it pays
//        (a quarter of what is in use could go), once through the list and a call for each run.
// Source LMDB's mdb_page_alloc() and mdb_find_oldest(); fallocate(2), FALLOC_FL_PUNCH_HOLE
#pragma once

#include <atomic>
#include <cstdint>

struct MDB_env;  // lmdb.h
struct MDB_txn;

namespace capstan {

class LmdbSpace {
 public:
  // `env` outlives this.
  explicit LmdbSpace(MDB_env* env) : env_(env) {}

  // After every commit, on the thread that committed. What cannot be done now is tried after
  // another commit; where the file system has no holes, this gives up for good.
  void committed();

  // On any thread. What the file takes on disk, and what of it the records take, as of the last
  // commit.
  std::uint64_t bytes_allocated() const;
  std::uint64_t bytes_live() const { return live_.load(std::memory_order_relaxed); }

 private:
  struct FreeList;
  // False: LMDB could not be read; nothing was changed.
  bool read_free_list(MDB_txn* txn, FreeList& out, bool with_pages) const;
  std::uint64_t oldest_reader() const;
  // How many pages were too young, or seen by a reader.
  std::uint64_t punch(MDB_txn* txn);

  MDB_env* env_;
  bool has_holes_ = true;
  std::uint64_t left_ = 0;  // bytes that would not go the last time: runs too short to be worth it
  std::atomic<std::uint64_t> live_ = 0;
};

}  // namespace capstan
