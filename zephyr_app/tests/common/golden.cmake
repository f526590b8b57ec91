# SPDX-License-Identifier: Apache-2.0
#
# What the suites that replay golden files share. Included behind find_package(Zephyr).

set(FQT_TESTS_DIR ${CMAKE_CURRENT_LIST_DIR}/..)
get_filename_component(FQT_GOLDEN_DIR ${CMAKE_CURRENT_LIST_DIR}/../../../golden REALPATH)

target_include_directories(app PRIVATE ${FQT_TESTS_DIR}/common ${FQT_TESTS_DIR}/replay)
target_compile_options(app PRIVATE -std=c11 -ffp-contract=off -Wextra -Wno-unused-parameter)

# golden_embed(arithmetic conv2d ...): golden/NAME.fqg in flash as golden_NAME; C sees GOLDEN_FILES(X) = X(arithmetic) X(conv2d) ...
function(golden_embed)
  set(list "")
  foreach(name ${ARGN})
    fqt_embed(app golden_${name} ${FQT_GOLDEN_DIR}/${name}.fqg)
    string(APPEND list " X(${name})")
  endforeach()
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/golden/golden_files.h.new
    "/* SPDX-License-Identifier: Apache-2.0 */\n#define GOLDEN_FILES(X)${list}\n")
  configure_file(${CMAKE_CURRENT_BINARY_DIR}/golden/golden_files.h.new
    ${CMAKE_CURRENT_BINARY_DIR}/golden/golden_files.h COPYONLY)
  target_include_directories(app PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/golden)
endfunction()

# golden_reader(): opens golden files. golden_replay(): and a ztest case for each embedded one.
macro(golden_reader)
  target_sources(app PRIVATE
    ${FQT_TESTS_DIR}/replay/replay.c
    ${FQT_TESTS_DIR}/replay/replay_operators.c
    ${FQT_TESTS_DIR}/replay/replay_training.c
  )
endmacro()
macro(golden_replay)
  golden_reader()
  target_sources(app PRIVATE ${FQT_TESTS_DIR}/common/golden_suite.c)
endmacro()
