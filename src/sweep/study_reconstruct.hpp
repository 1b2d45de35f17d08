/// The part of a study that is about reconstruction: [reconstruct], and which set every network is calibrated with.
/// Used by study.cpp only.
#pragma once

#include <string>

#include "quantbound/sweep/study.hpp"

#include "study_table.hpp"

namespace quantbound::sweep::detail {

/// The set of this name, or an error at `where`.
const observe::SampleSpec& find_samples(const Study& study, const std::string& name, const std::string& where);

/// What all methods share, from the keys of [reconstruct] but `samples`; not finished.
reconstruct::Options parse_options(Table& table);

/// Fills Study::reconstruct and StudyNetwork::calibration. Where no method stands on the quantizer axis nothing may be
/// said of reconstruction. @pre networks, samples and quantizers are there
void parse_reconstruct(Study& study, Table& root);

}  // namespace quantbound::sweep::detail
