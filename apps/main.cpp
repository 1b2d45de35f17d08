// quantbound: how far a quantized network can stray from the original. One verb per stage; see `quantbound --help`.
#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <google/protobuf/stubs/common.h>
#include <malloc.h>
#include <omp.h>
#include <unistd.h>

#include "quantbound/core/error.hpp"
#include "quantbound/core/version.hpp"
#include "quantbound/parallel/launcher_rank.hpp"
#include "quantbound/parallel/session.hpp"
#include "quantbound/quantize/instruction_set.hpp"
#include "quantbound/tensor/float_library.hpp"

#include "failure.hpp"
#include "reference.hpp"
#include "verb.hpp"

namespace quantbound::apps {
namespace {

const std::array<const Verb*, 8> verbs{&sweep_verb,   &plan_verb,     &inspect_verb, &bound_verb,
                                       &certify_verb, &quantize_verb, &show_verb,    &merge_verb};

constexpr std::string_view common_exits =
    "  0   done\n"
    "  1   failed; the line on standard error says why\n"
    "  2   wrong usage, study or input file; nothing was computed\n";
constexpr std::string_view environment =
    "  OMP_NUM_THREADS  threads of each process (default: the processors it may use; --threads overrides)\n"
    "  OMP_WAIT_POLICY, GOMP_SPINCOUNT\n"
    "                   how threads wait for each other (default: they spin shortly, then sleep)\n"
    "  ONEDNN_MAX_CPU_ISA\n"
    "                   the newest instructions that float kernels may use, e.g. AVX2\n";

void print_section(std::ostream& out, std::string_view title, std::string_view text) {
  if (!text.empty()) out << '\n' << title << ":\n" << text;
}

void print_overview(std::ostream& out) {
  out << "usage: quantbound VERB [arguments] [options]\n\n"
         "How far can a quantized network stray from the original? Bounds from theory, deviations from "
         "measurement.\n\nVerbs:\n";
  for (const Verb* verb : verbs) out << fmt::format("  {:<8} {:<10} {}\n", verb->name, verb->arguments, verb->summary);
  out << "\nReferences:\n";
  for (const auto& reference : references())
    out << fmt::format("  {:<19} {}\n", fmt::format("help {}", reference.topic), reference.summary);
  out << "\nquantbound VERB --help says more.\n\nOptions:\n"
         "  -h [ --help ]  this text\n"
         "  --version      version, commit, compiler, libraries, instruction set and threads\n";
  print_section(out, "Examples",
                "  quantbound bound configs/models/digits_cnn.onnx --box 0 1 --bits 4\n"
                "      what every theorem says about one network with weights of 4 bits\n"
                "  mpirun -n 2 quantbound sweep configs/quickstart.toml --output quickstart.h5\n"
                "      a study of five networks in 28 configurations, on two ranks\n");
  print_section(out, "Exit codes", common_exits);
  out << "  3   done, but some tasks failed\n"
         "  75  stopped early, progress is kept; run again with --resume\n";
  print_section(out, "Environment", environment);
}

void print_version(std::ostream& out) {
  const core::Version v = core::version();
  const tensor::FloatLibrary floats = tensor::float_library();
  out << fmt::format("quantbound {}\n", v.version);
  const auto line = [&](std::string_view what, const std::string& value) {
    out << fmt::format("  {:<16} {}\n", what, value);
  };
  line("commit", std::string(v.commit));
  line("compiler", fmt::format("{}, {}", v.compiler, v.build_type));
  line("instruction set", fmt::format("built for {}; here {} for weights, {} in oneDNN",
                                      v.instruction_set.empty() ? "the compiler's default" : v.instruction_set,
                                      quantize::instruction_set(), floats.instruction_set));
  line("MPI", parallel::mpi_library());
  line("HDF5", fmt::format("{}, parallel", v.hdf5));
  line("oneDNN", floats.version);
  line("threads", fmt::format("{} per process by default", omp_get_max_threads()));
}

core::InputError usage_error(const std::string& message) { return {message + "; see quantbound --help", ""}; }

const Verb& find_verb(const std::string& name) {
  const auto found = std::ranges::find_if(verbs, [&](const Verb* verb) { return verb->name == name; });
  if (found == verbs.end()) throw usage_error(fmt::format("no verb '{}'", name));
  return **found;
}

/// "-1.5" is a number, not an option: hands it on as a plain word.
std::vector<options::option> negative_number(std::vector<std::string>& words) {
  const std::string& word = words.front();
  if (word.size() < 2 || word[0] != '-' || (std::isdigit(static_cast<unsigned char>(word[1])) == 0 && word[1] != '.'))
    return {};
  options::option number;
  number.value.push_back(word);
  number.original_tokens.push_back(word);
  words.erase(words.begin());
  return {number};
}

/// Parses strictly: no guessing of prefixes, every positional word belongs to the verb's `input`.
options::variables_map parse(const Verb& verb, std::span<char*> words) {
  using namespace options::command_line_style;
  options::options_description all = verb.options();
  options::positional_options_description positional;
  if (verb.inputs == Inputs::many) {
    all.add_options()("input", options::value<std::vector<std::string>>(), "");
    positional.add("input", -1);
  } else {
    all.add_options()("input", options::value<std::string>(), "");
    positional.add("input", 1);
  }
  const std::vector<std::string> arguments(words.begin(), words.end());
  options::variables_map values;
  try {
    options::store(options::command_line_parser(arguments)
                       .options(all)
                       .positional(positional)
                       .style(unix_style & ~allow_guessing)
                       .extra_style_parser(negative_number)
                       .run(),
                   values);
    options::notify(values);
  } catch (const options::error& error) {
    throw core::InputError(fmt::format("{}; see quantbound {} --help", error.what(), verb.name), "");
  }
  if (values.count("input") == 0) throw usage_error(fmt::format("{} needs {}", verb.name, verb.arguments));
  return values;
}

void print_verb_help(std::ostream& out, const Verb& verb) {
  std::string summary(verb.summary);
  summary.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(summary.front())));
  out << fmt::format("usage: quantbound {} {} [options]\n\n{}.\n\n{}", verb.name, verb.arguments, summary,
                     verb.description)
      << verb.options();
  print_section(out, "Files", verb.files);
  print_section(out, "Examples", verb.examples);
  print_section(out, "Exit codes", common_exits);
  out << verb.exits;
  print_section(out, "Environment", environment);
}

int dispatch(int argc, char** argv) {
  const std::span<char*> words(argv + 1, argv + argc);
  const bool speaks = parallel::launcher_rank() == 0;  // these answers need no MPI, and one process gives them
  if (words.empty()) throw usage_error("a verb is needed");
  const std::string first = words[0];
  if (first == "--version") {
    if (speaks) print_version(std::cout);
    return done;
  }
  if (first == "--help" || first == "-h" || (first == "help" && words.size() == 1)) {
    if (speaks) print_overview(std::cout);
    return done;
  }
  if (const Reference* reference = first == "help" ? find_reference(words[1]) : nullptr; reference != nullptr) {
    if (speaks) reference->print(std::cout);
    return done;
  }
  const Verb& verb = find_verb(first == "help" ? std::string(words[1]) : first);
  const auto rest = words.subspan(1);
  const auto asks_for_help = [](const std::string& word) { return word == "--help" || word == "-h"; };
  if (first == "help" || std::ranges::any_of(rest, asks_for_help)) {
    if (speaks) print_verb_help(std::cout, verb);
    return done;
  }
  const auto values = parse(verb, rest);
  if (verb.ranks == Ranks::first && !speaks) return done;
  return verb.run({.values = values, .argc = argc, .argv = argv});
}

/// The build may ask for more than this processor has (QUANTBOUND_ARCH): say so instead of dying of an illegal
/// instruction.
bool processor_suffices() {
#ifdef __AVX2__
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#else
  return true;
#endif
}

int guarded_main(int argc, char** argv) {
  try {
    if (!processor_suffices()) {
      throw core::Error(
          "this build needs a processor with AVX2 and FMA; configure with -DQUANTBOUND_ARCH=, build again", "");
    }
    return dispatch(argc, argv);
  } catch (...) {
    const Failure failure = current_failure();
    // Input errors that come here are the same on every rank and told by one; others name their rank.
    if (failure.code == usage) {
      if (parallel::launcher_rank() == 0) print_error(failure.message);
    } else if (parallel::launcher_size().value_or(1) > 1) {
      print_error(fmt::format("rank {}: {}", parallel::launcher_rank(), failure.message));
    } else {
      print_error(failure.message);
    }
    parallel::end_job(failure.code);
    return failure.code;
  }
}

/// Threads that wait for each other sleep after some microseconds. libgomp lets them spin for milliseconds; where two
/// of them share a processor for a while (virtual machines, other programs), each short loop then takes a scheduler's
/// tick: fourteen times the time, measured. libgomp reads the variable when it is loaded, hence once more from the
/// beginning.
void keep_waits_short(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0) execv("/proc/self/exe", argv);  // returns only where it cannot
}

}  // namespace
}  // namespace quantbound::apps

int main(int argc, char** argv) {
  quantbound::apps::keep_waits_short(argv);
  // Vectors of the size of a weight matrix come and go all the time: keep their pages instead of faulting them in anew.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const int code = quantbound::apps::guarded_main(argc, argv);
  google::protobuf::ShutdownProtobufLibrary();
  return code;
}
