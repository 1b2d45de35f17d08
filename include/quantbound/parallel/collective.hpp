/// The few operations between ranks that the program needs, over bytes and whole numbers. No floating-point sums: their
/// order would depend on the number of ranks. Waiting ranks sleep instead of spinning. Messages may exceed 2 GiB.
///
/// | function                         | who calls it |
/// | broadcast, gather, share, barrier, max_over_ranks, sum_over_ranks | collective: every rank, in the same order |
/// | send, receive                    | the two ranks of one message, in the same order of messages |
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quantbound/parallel/session.hpp"

namespace quantbound::parallel {

/// What rank 0 passes, on every rank; what the others pass is not looked at.
std::string broadcast(Session& session, std::string value);
std::vector<std::byte> broadcast(Session& session, std::vector<std::byte> value);

/// On rank 0: what every rank passed, by rank. Elsewhere: empty.
std::vector<std::vector<std::byte>> gather(Session& session, std::span<const std::byte> mine);
std::vector<std::string> gather(Session& session, std::string_view mine);

/// On every rank: what every rank passed, by rank. For short records. @pre at most 1 GiB of all together
std::vector<std::vector<std::byte>> share(Session& session, std::span<const std::byte> mine);

/// One message from rank to rank. Neither returns before the other has come. @pre not to oneself
void send(Session& session, int to, std::span<const std::byte> message);
std::vector<std::byte> receive(Session& session, int from);

/// Returns when every rank has come here.
void barrier(Session& session);

/// On every rank.
int max_over_ranks(Session& session, int value);
std::uint64_t sum_over_ranks(Session& session, std::uint64_t value);

}  // namespace quantbound::parallel
