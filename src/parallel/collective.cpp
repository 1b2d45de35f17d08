#include "quantbound/parallel/collective.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "communicator.hpp"

namespace quantbound::parallel {

namespace {

using Bytes = std::vector<std::byte>;

constexpr int tag_gather = 1;
/// MPI counts in int: larger messages go in pieces.
constexpr std::size_t largest_piece = std::size_t{1} << 30;

/// Calls transfer(data, count) for the pieces of a buffer, in order.
template <class Byte, class Transfer>
void in_pieces(std::span<Byte> buffer, Transfer transfer) {
  while (!buffer.empty()) {
    const std::size_t count = std::min(buffer.size(), largest_piece);
    transfer(buffer.data(), static_cast<int>(count));
    buffer = buffer.subspan(count);
  }
}

/// After arrive_together. The buffers have the same size everywhere.
void broadcast_into(const detail::Communicator& communicator, std::span<std::byte> buffer) {
  in_pieces(buffer, [&](std::byte* data, int count) {
    detail::verify(MPI_Bcast(data, count, MPI_BYTE, 0, communicator.handle), "MPI_Bcast");
  });
}

/// A string or a vector of bytes, as rank 0 has it.
template <class Container>
Container broadcast_container(const detail::Communicator& communicator, Container value) {
  detail::arrive_together(communicator);
  std::uint64_t size = value.size();
  broadcast_into(communicator, std::as_writable_bytes(std::span(&size, 1)));
  value.resize(static_cast<std::size_t>(size));
  broadcast_into(communicator, std::as_writable_bytes(std::span(value.data(), value.size())));
  return value;
}

std::vector<Bytes> receive_all(const detail::Communicator& communicator, const std::vector<std::uint64_t>& sizes,
                               std::span<const std::byte> mine) {
  std::vector<Bytes> all(sizes.size());
  all[0].assign(mine.begin(), mine.end());
  for (int rank = 1; rank < communicator.size; ++rank) {
    Bytes& bytes = all[static_cast<std::size_t>(rank)];
    bytes.resize(static_cast<std::size_t>(sizes[static_cast<std::size_t>(rank)]));
    in_pieces(std::span(bytes), [&](std::byte* data, int count) {
      detail::verify(MPI_Recv(data, count, MPI_BYTE, rank, tag_gather, communicator.handle, MPI_STATUS_IGNORE),
                     "MPI_Recv");
    });
  }
  return all;
}

}  // namespace

std::string broadcast(Session& session, std::string value) {
  return broadcast_container(session.communicator(), std::move(value));
}

std::vector<std::byte> broadcast(Session& session, std::vector<std::byte> value) {
  return broadcast_container(session.communicator(), std::move(value));
}

std::vector<std::vector<std::byte>> gather(Session& session, std::span<const std::byte> mine) {
  const detail::Communicator& communicator = session.communicator();
  detail::arrive_together(communicator);
  const std::uint64_t size = mine.size();
  std::vector<std::uint64_t> sizes(session.is_root() ? static_cast<std::size_t>(session.size()) : 0);
  detail::verify(MPI_Gather(&size, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, 0, communicator.handle),
                 "MPI_Gather");
  if (session.is_root()) return receive_all(communicator, sizes, mine);
  in_pieces(mine, [&](const std::byte* data, int count) {
    detail::verify(MPI_Send(data, count, MPI_BYTE, 0, tag_gather, communicator.handle), "MPI_Send");
  });
  return {};
}

std::vector<std::string> gather(Session& session, std::string_view mine) {
  std::vector<std::string> texts;
  for (const auto& bytes : gather(session, std::as_bytes(std::span(mine)))) {
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return texts;
}

void barrier(Session& session) { detail::arrive_together(session.communicator()); }

int max_over_ranks(Session& session, int value) {
  detail::arrive_together(session.communicator());
  int result = value;
  detail::verify(MPI_Allreduce(&value, &result, 1, MPI_INT, MPI_MAX, session.communicator().handle), "MPI_Allreduce");
  return result;
}

std::uint64_t sum_over_ranks(Session& session, std::uint64_t value) {
  detail::arrive_together(session.communicator());
  std::uint64_t result = value;
  detail::verify(MPI_Allreduce(&value, &result, 1, MPI_UINT64_T, MPI_SUM, session.communicator().handle),
                 "MPI_Allreduce");
  return result;
}

}  // namespace quantbound::parallel
