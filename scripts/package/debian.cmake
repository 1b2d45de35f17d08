# Two Debian packages: `cpack --config build/CPackConfig.cmake -G DEB`. What quantbound needs of libraries dpkg-shlibdeps
# reads from the program; what a build against libquantbound-dev needs is what the package file looks for.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME quantbound)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(QUANTBOUND_PACKAGER "quantbound <root@localhost>" CACHE STRING "name and address of who builds the Debian packages")
set(CPACK_PACKAGE_CONTACT ${QUANTBOUND_PACKAGER})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL program development)
set(debian_packages quantbound libquantbound-dev)
set(CPACK_STRIP_FILES ON)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME quantbound)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
# The launcher, and what the analysis commands are written in; what these import is recommended.
set(CPACK_DEBIAN_PROGRAM_PACKAGE_DEPENDS "openmpi-bin, python3")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS "python3-h5netcdf, python3-matplotlib, python3-pandas, python3-xarray")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_SOURCE_DIR}/prerm)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SUGGESTS "libquantbound-dev, bash-completion, slurm-wlm")
set(processors "every processor of the architecture")
if(QUANTBOUND_ARCH)
  set(processors "processors with ${QUANTBOUND_ARCH}")
endif()
set(CPACK_DEBIAN_PROGRAM_DESCRIPTION "Bounds of the deviation from theory, certificates for a given domain with
rounding errors included, and measurements, for thousands of pairs of a
network (ONNX) and a quantization, on a laptop or under mpirun.
This build runs on ${processors}.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libquantbound-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libopenmpi-dev, libhdf5-openmpi-dev, libeigen3-dev, libfmt-dev, libtomlplusplus-dev, libxxhash-dev, libssl-dev, libonnx-dev, libprotobuf-dev, protobuf-compiler, coinor-libclp-dev, libdnnl-dev, ocl-icd-opencl-dev, pkg-config")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "The libraries: static, with C++20 headers and a CMake package that has one
target per room: find_package(quantbound COMPONENTS bounds).")

# What Debian asks of every package: who may copy it, and what changed.
string(TIMESTAMP day "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(copyright.in ${made}/copyright @ONLY)
configure_file(changelog.in ${made}/changelog @ONLY)
file(ARCHIVE_CREATE OUTPUT ${made}/changelog.gz PATHS ${made}/changelog FORMAT raw COMPRESSION GZip
     COMPRESSION_LEVEL 9)
foreach(component package IN ZIP_LISTS CPACK_COMPONENTS_ALL debian_packages)
  install(FILES ${made}/copyright ${made}/changelog.gz DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${component})
endforeach()

include(CPack)
