# Writes the header behind core/version.hpp: version, commit, whether the tree was modified, how it was built.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD OUTPUT_VARIABLE commit
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no OUTPUT_VARIABLE changes ERROR_QUIET)
if(NOT commit)
  set(commit "unknown")
elseif(changes)
  string(APPEND commit "-modified")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[
#pragma once
#define QUANTBOUND_VERSION "@VERSION@"
#define QUANTBOUND_COMMIT "@commit@"
#define QUANTBOUND_COMPILER "@COMPILER@"
#define QUANTBOUND_BUILD_TYPE "@BUILD_TYPE@"
#define QUANTBOUND_ARCH "@ARCH@"
#define QUANTBOUND_HDF5 "@HDF5@"
]] @ONLY)
