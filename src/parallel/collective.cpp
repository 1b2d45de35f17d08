#include "quantbound/parallel/collective.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "quantbound/core/assert.hpp"

#include "communicator.hpp"

namespace quantbound::parallel {

namespace {

using Bytes = std::vector<std::byte>;

constexpr int tag_gather = 1, tag_message = 2;
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

void wait_asleep(MPI_Request request) {
  for (detail::Backoff backoff; !detail::is_complete(request);) backoff.pause();
}

void send_bytes(const detail::Communicator& communicator, int to, std::span<const std::byte> bytes) {
  in_pieces(bytes, [&](const std::byte* data, int count) {
    MPI_Request request = MPI_REQUEST_NULL;
    // Issend: completion means that the other side is there, whatever the size.
    detail::verify(MPI_Issend(data, count, MPI_BYTE, to, tag_message, communicator.handle, &request), "MPI_Issend");
    wait_asleep(request);
  });
}

void receive_bytes(const detail::Communicator& communicator, int from, std::span<std::byte> bytes) {
  in_pieces(bytes, [&](std::byte* data, int count) {
    MPI_Request request = MPI_REQUEST_NULL;
    detail::verify(MPI_Irecv(data, count, MPI_BYTE, from, tag_message, communicator.handle, &request), "MPI_Irecv");
    wait_asleep(request);
  });
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

std::vector<Bytes> share(Session& session, std::span<const std::byte> mine) {
  const detail::Communicator& communicator = session.communicator();
  detail::arrive_together(communicator);
  const std::uint64_t size = mine.size();
  std::vector<std::uint64_t> sizes(static_cast<std::size_t>(session.size()));
  detail::verify(MPI_Allgather(&size, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, communicator.handle),
                 "MPI_Allgather");
  std::vector<int> counts, starts;
  std::size_t total = 0;
  for (const std::uint64_t of_rank : sizes) {
    counts.push_back(static_cast<int>(of_rank));
    starts.push_back(static_cast<int>(total));
    total += static_cast<std::size_t>(of_rank);
    QUANTBOUND_ASSERT(total <= largest_piece, total);
  }
  Bytes joined(total);
  detail::verify(MPI_Allgatherv(mine.data(), static_cast<int>(mine.size()), MPI_BYTE, joined.data(), counts.data(),
                                starts.data(), MPI_BYTE, communicator.handle),
                 "MPI_Allgatherv");
  std::vector<Bytes> all;
  for (std::size_t rank = 0; rank < sizes.size(); ++rank) {
    const auto first = joined.begin() + starts[rank];
    all.emplace_back(first, first + counts[rank]);
  }
  return all;
}

void send(Session& session, int to, std::span<const std::byte> message) {
  QUANTBOUND_ASSERT(to != session.rank() && to >= 0 && to < session.size(), to, session.size());
  const std::uint64_t size = message.size();
  send_bytes(session.communicator(), to, std::as_bytes(std::span(&size, 1)));
  send_bytes(session.communicator(), to, message);
}

Bytes receive(Session& session, int from) {
  QUANTBOUND_ASSERT(from != session.rank() && from >= 0 && from < session.size(), from, session.size());
  std::uint64_t size = 0;
  receive_bytes(session.communicator(), from, std::as_writable_bytes(std::span(&size, 1)));
  Bytes message(static_cast<std::size_t>(size));
  receive_bytes(session.communicator(), from, message);
  return message;
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
