/// What a study says of reconstruction, and what it must not say.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quantbound/core/error.hpp"
#include "quantbound/sweep/study.hpp"

namespace quantbound::sweep {
namespace {

using reconstruct::Method;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StudyOfMethods : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("quantbound-methods-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
    for (const char* name : {"x.npy", "y.npy", "z.npy"}) std::ofstream(folder_ / name) << "";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Study read(const std::string& quantizers, const std::string& reconstruct, const std::string& network = "") {
    std::ofstream(folder_ / "study.toml")
        << "[study]\nname = \"methods\"\n[[network]]\nfamily = \"mlp\"\ndepth = 3\nwidth = 8\n"
           "domain = { low = -1.0, high = 1.0 }\n"
        << network
        << "\n[[samples]]\nname = \"fit\"\nimages = \"x.npy\"\nrole = \"calibration\"\n"
           "[[samples]]\nname = \"other\"\nimages = \"z.npy\"\nrole = \"calibration\"\n"
           "[[samples]]\nname = \"test\"\nimages = \"y.npy\"\n"
           "[quantization]\nbits = [3, 4]\nseed = [1, 2]\nquantizer = "
        << quantizers << "\n"
        << reconstruct << "\n[observe]\nuniform = 4\n";
    return read_study(folder_ / "study.toml");
  }
  std::string error_of(const std::string& quantizers, const std::string& reconstruct, const std::string& network = "") {
    try {
      read(quantizers, reconstruct, network);
    } catch (const core::InputError& error) {
      return error.what();
    }
    return "no error";
  }
  /// An error of one line of [reconstruct].
  std::string error_of_key(const std::string& line) {
    return error_of("\"brecq\"", "[reconstruct]\nsamples = \"fit\"\n" + line + "\n");
  }

  std::filesystem::path folder_;
};

TEST_F(StudyOfMethods, EveryNameOfTheQuantizerAxisIsParsedToItself) {
  EXPECT_THAT(quantizer_names(), ElementsAre("floor", "round", "truncate", "stochastic", "cle_round", "gptq",
                                             "adaround", "brecq", "qdrop", "mrecg", "mrecg_loss"));
  for (const auto& name : quantizer_names()) {
    const auto quantizer = parse_study_quantizer(name);
    ASSERT_TRUE(quantizer) << name;
    EXPECT_EQ(quantizer->name, name);
    if (quantizer->method) {
      EXPECT_EQ(quantizer->rounding, quantize::Quantizer::round) << name;
    } else {
      EXPECT_EQ(to_string(quantizer->rounding), name);
    }
  }
  EXPECT_FALSE(parse_study_quantizer("obq"));
}

TEST_F(StudyOfMethods, RoundingRulesAndMethodsStandBesideEachOther) {
  const Study study = read("[\"floor\", \"cle_round\", \"qdrop\"]", "[reconstruct]\nsamples = \"fit\"\n");
  ASSERT_EQ(study.quantizers.size(), 3U);
  EXPECT_FALSE(study.quantizers[0].method);
  EXPECT_EQ(study.quantizers[1].method, Method::round);
  EXPECT_EQ(study.quantizers[2].method, Method::qdrop);
  EXPECT_TRUE(reconstructs(study));
  EXPECT_EQ(study.networks[0].calibration, "fit");
  ASSERT_EQ(configurations(study).size(), 12U);
  EXPECT_EQ(quantizer_of(study, 3).name, "floor");
  EXPECT_EQ(quantizer_of(study, 4).name, "cle_round");
  EXPECT_EQ(label(study, 0), "floor/tensor/3");
  EXPECT_EQ(label(study, 11), "qdrop/tensor/4/seed 2");
}

TEST_F(StudyOfMethods, OptionsAreRead) {
  const auto options = read("\"mrecg\"",
                            "[reconstruct]\nsamples = \"fit\"\niterations = 7\nbatch = 3\nlearning_rate = 0.5\n"
                            "regularization = 0.25\nwarm_up = 0.125\nbeta = [10, 3]\nregularization_unit = "
                            "\"absolute\"\ndrop = 0.75\nweighting = \"fisher\"\n"
                            "quadratic = \"batches\"\nequalize = \"cross_layer\"\nbias_absorption = "
                            "2.5\nbias_correction = \"empirical\"\n"
                            "modules = \"stage\"\njoint = \"qdrop\"\nstride_factor = 2.0\nhomogeneity = \"strict\"\n"
                            "joins = 2\njoin_penalty = 0.5\nlongest_run = 3\ndamping = 0.02\norder = \"activations\"\n")
                           .reconstruct;
  EXPECT_EQ(options.iterations, 7);
  EXPECT_EQ(options.batch, 3);
  EXPECT_EQ(options.learning_rate, 0.5);
  EXPECT_EQ(options.regularization, 0.25);
  EXPECT_EQ(options.regularization_unit, reconstruct::RegularizationUnit::absolute);
  EXPECT_EQ(options.warm_up, 0.125);
  EXPECT_EQ(options.beta_first, 10.0);
  EXPECT_EQ(options.beta_last, 3.0);
  EXPECT_EQ(options.drop, 0.75);
  EXPECT_EQ(options.weighting, reconstruct::Weighting::fisher);
  EXPECT_EQ(options.quadratic, reconstruct::QuadraticLoss::batches);
  EXPECT_EQ(options.equalization, reconstruct::Equalization::cross_layer);
  EXPECT_EQ(options.bias_absorption, 2.5);
  EXPECT_EQ(options.bias_correction, reconstruct::BiasCorrection::empirical);
  EXPECT_EQ(options.modules, reconstruct::ModuleKind::stage);
  EXPECT_EQ(options.joint, Method::qdrop);
  EXPECT_EQ(options.capacity.stride_factor, 2.0);
  EXPECT_EQ(options.homogeneity, reconstruct::Homogeneity::strict);
  EXPECT_EQ(options.joins, 2);
  EXPECT_EQ(options.join_penalty, 0.5);
  EXPECT_EQ(options.longest_run, 3);
  EXPECT_EQ(options.damping, 0.02);
  EXPECT_EQ(options.order, reconstruct::ColumnOrder::descending_diagonal);
}

TEST_F(StudyOfMethods, WithoutOptionsTheDefaultsOfTheRoomHold) {
  const auto options = read("\"brecq\"", "[reconstruct]\nsamples = \"fit\"\n").reconstruct;
  const reconstruct::Options defaults;
  EXPECT_EQ(options.iterations, defaults.iterations);
  EXPECT_EQ(options.learning_rate, defaults.learning_rate);
  EXPECT_EQ(options.modules, defaults.modules);
  EXPECT_EQ(options.homogeneity, defaults.homogeneity);
  EXPECT_TRUE(options.runs.empty());
}

TEST_F(StudyOfMethods, ModulesMayBeNamedAndRunsGiven) {
  const auto options =
      read("\"brecq\"", "[reconstruct]\nsamples = \"fit\"\nmodules = [[\"a\", \"b\"], [\"c\", \"c\"]]\nruns = [1, 2]\n")
          .reconstruct;
  ASSERT_EQ(options.named.size(), 2U);
  EXPECT_EQ(options.named[0].first, "a");
  EXPECT_EQ(options.named[0].last, "b");
  EXPECT_THAT(options.runs, ElementsAre(1, 2));
}

TEST_F(StudyOfMethods, RunsMayBeRandom) {
  const auto options =
      read("[\"brecq\", \"adaround\"]", "[reconstruct]\nsamples = \"fit\"\nruns = \"random\"\n").reconstruct;
  EXPECT_TRUE(options.runs.empty());
  const auto joining_of = [&](const char* name) {
    return options_of(*parse_study_quantizer(name), options, 1).joining;
  };
  EXPECT_EQ(joining_of("brecq"), reconstruct::Joining::random);
  EXPECT_EQ(joining_of("adaround"), reconstruct::Joining::by_method);
  EXPECT_EQ(joining_of("mrecg_loss"), reconstruct::Joining::by_method);
  EXPECT_THROW(read("\"brecq\"", "[reconstruct]\nsamples = \"fit\"\nruns = \"randomly\"\n"), core::InputError);
}

TEST_F(StudyOfMethods, AMethodTakesOfTheSharedOptionsWhatItReads) {
  reconstruct::Options shared;
  shared.runs = {1, 2};
  shared.named = {{.first = "a", .last = "b"}};
  shared.weighting = reconstruct::Weighting::fisher;
  shared.bias_absorption = 3.0;
  shared.bias_correction = reconstruct::BiasCorrection::empirical;
  const auto of = [&](const char* name) { return options_of(*parse_study_quantizer(name), shared, 77); };
  EXPECT_EQ(of("brecq").seed, 77U);
  EXPECT_EQ(of("brecq").runs.size(), 2U);
  EXPECT_EQ(of("brecq").weighting, reconstruct::Weighting::fisher);
  EXPECT_TRUE(of("gptq").named.empty());
  EXPECT_EQ(of("adaround").weighting, reconstruct::Weighting::none);
  EXPECT_TRUE(of("mrecg_loss").runs.empty()) << "it chooses them";
  EXPECT_EQ(of("cle_round").equalization, reconstruct::Equalization::cross_layer);
  EXPECT_EQ(of("brecq").equalization, reconstruct::Equalization::none);
  EXPECT_EQ(of("cle_round").bias_correction, reconstruct::BiasCorrection::empirical);
  EXPECT_EQ(of("cle_round").bias_absorption, 3.0);
  EXPECT_FALSE(of("round").bias_absorption);
  EXPECT_EQ(of("round").bias_correction, reconstruct::BiasCorrection::none) << "a rule is left as it is";
  EXPECT_FALSE(module_method(*parse_study_quantizer("floor")));
  EXPECT_EQ(module_method(*parse_study_quantizer("round")), Method::round);
}

TEST_F(StudyOfMethods, NothingIsSaidOfReconstructionWhereNoMethodIsAskedFor) {
  EXPECT_THAT(error_of("\"round\"", "[reconstruct]\nsamples = \"fit\"\n"),
              HasSubstr("[reconstruct] is read only where `quantizer` names a reconstruction method"));
  EXPECT_THAT(error_of("\"round\"", "[reconstruct]\nsamples = \"fit\"\n"), HasSubstr("study.toml:24:1)"));
  EXPECT_THAT(error_of("\"round\"", "", "calibration = \"fit\"\n"), HasSubstr("`calibration` is read only where"));
}

TEST_F(StudyOfMethods, AMethodNeedsCalibrationSamplesAndNoOthers) {
  EXPECT_THAT(error_of("[\"round\", \"brecq\", \"gptq\"]", ""),
              HasSubstr("calibration samples are needed for brecq, gptq"));
  EXPECT_THAT(error_of("\"brecq\"", "[reconstruct]\niterations = 3\n"), HasSubstr("calibration samples are needed"));
  EXPECT_THAT(error_of("\"brecq\"", "[reconstruct]\nsamples = \"test\"\n"),
              HasSubstr("no method is fitted to what it is measured on"));
  EXPECT_THAT(error_of("\"brecq\"", "[reconstruct]\nsamples = \"test\"\n"), HasSubstr("study.toml:25:11)"));
  EXPECT_THAT(error_of("\"brecq\"", "[reconstruct]\nsamples = \"nowhere\"\n"),
              HasSubstr("'nowhere' are not defined; defined are: fit, other, test"));
  EXPECT_THAT(error_of("\"brecq\"", "", "calibration = \"test\"\n"), HasSubstr("no method is fitted to"));
  EXPECT_THAT(error_of("\"brecq\"", "[reconstruct]\nsamples = \"fit\"\n", "samples = \"fit\"\n"),
              HasSubstr("nothing is measured on what a method was fitted to"));
}

TEST_F(StudyOfMethods, ANetworkMayHaveASetOfItsOwn) {
  EXPECT_EQ(
      read("\"brecq\"", "[reconstruct]\nsamples = \"fit\"\n", "calibration = \"other\"\n").networks[0].calibration,
      "other");
  EXPECT_EQ(read("\"brecq\"", "", "calibration = \"other\"\n").networks[0].calibration, "other");
}

TEST_F(StudyOfMethods, MistakesAreNamedWithTheirPlace) {
  EXPECT_THAT(error_of("\"brec\"", ""), HasSubstr("'brec' is not known; did you mean 'brecq'?"));
  EXPECT_THAT(error_of_key("iteration = 5"),
              HasSubstr("unknown key `iteration` in [reconstruct]; did you mean `iterations`?"));
  EXPECT_THAT(error_of_key("seed = 5"), HasSubstr("unknown key `seed` in [reconstruct]")) << "the axis has it";
  EXPECT_THAT(error_of_key("iterations = 0"), HasSubstr("`iterations` = 0 is outside 1 to"));
  EXPECT_THAT(error_of_key("iterations = 0"), HasSubstr("study.toml:26:14)"));
  EXPECT_THAT(error_of_key("batch = 2.5"), HasSubstr("`batch` must be an integer, not a number"));
  EXPECT_THAT(error_of_key("warm_up = 1.5"), HasSubstr("`warm_up` = 1.5 is outside 0 to 1"));
  EXPECT_THAT(error_of_key("learning_rate = 0"), HasSubstr("`learning_rate` = 0 is outside"));
  EXPECT_THAT(error_of_key("beta = [2, 20]"), HasSubstr("`beta` is [first, last]"));
  EXPECT_THAT(error_of_key("beta = 20"), HasSubstr("`beta` is [first, last]"));
  EXPECT_THAT(error_of_key("weighting = \"fischer\""), HasSubstr("did you mean 'fisher'?"));
  EXPECT_THAT(error_of_key("equalize = true"), HasSubstr("`equalize` must be a string"));
  EXPECT_THAT(error_of_key("modules = \"blocks\""), HasSubstr("did you mean 'block'?"));
  EXPECT_THAT(error_of_key("modules = [\"a\"]"), HasSubstr("the names of the first and the last weight layer"));
  EXPECT_THAT(error_of_key("modules = []"), HasSubstr("`modules` is an empty list"));
  EXPECT_THAT(error_of_key("runs = []"), HasSubstr("`runs` is an empty list"));
  EXPECT_THAT(error_of_key("joint = \"adaround\""), HasSubstr("choose from: brecq, qdrop"));
}

}  // namespace
}  // namespace quantbound::sweep
