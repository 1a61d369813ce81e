# l2flow_library(NAME SOURCES … [LINK …])       common/NAME, service cores: a static library l2_NAME
# l2flow_binary(NAME SOURCES … [LINK …])        a program in build/<preset>/bin
# l2flow_test(LABEL NAME SOURCES … [LINK …])    a cmocka test; its ctest label is its folder under tests/
# l2flow_script_test(LABEL NAME COMMAND … [TIMEOUT s] [PROPERTIES key value …])   a test that is a script: ${L2FLOW_PYTHON} file.py …
#     environment: L2FLOW_BIN (programs), L2FLOW_BUILD, L2FLOW_PYTHON, PYTHONPATH with tests/support (import l2kafka)
# Either test may end with 77 for "skipped".
include(CMakeParseArguments)

# The virtual environment of ./run deps, where confluent_kafka and fastavro are
set(L2FLOW_PYTHON ${CMAKE_SOURCE_DIR}/.deps/venv/bin/python)
if(NOT EXISTS ${L2FLOW_PYTHON})
    set(L2FLOW_PYTHON ${Python3_EXECUTABLE})
endif()

function(l2flow_library name)
    cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
    add_library(${name} STATIC ${A_SOURCES})
    target_link_libraries(${name} PUBLIC l2flow_flags ${A_LINK})
endfunction()

function(l2flow_binary name)
    cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${A_SOURCES})
    target_link_libraries(${name} PRIVATE l2flow_flags ${A_LINK})
endfunction()

function(l2flow_test label name)
    cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LINK" ${ARGN})
    if(L2FLOW_FUZZ)
        return()
    endif()
    if(NOT A_TIMEOUT)
        set(A_TIMEOUT 120)
    endif()
    if(L2FLOW_COVERAGE) # neither optimised nor unobserved
        math(EXPR A_TIMEOUT "4 * ${A_TIMEOUT}")
    endif()
    add_executable(${name} ${A_SOURCES})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test-bin) # bin/ is for users
    target_link_libraries(${name} PRIVATE l2flow_flags ${A_LINK} cmocka m)
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support)
    target_compile_definitions(${name} PRIVATE L2FLOW_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77)
endfunction()

function(l2flow_script_test label name)
    cmake_parse_arguments(A "" "TIMEOUT" "COMMAND;PROPERTIES" ${ARGN})
    if(L2FLOW_FUZZ)
        return()
    endif()
    if(NOT A_TIMEOUT)
        set(A_TIMEOUT 300)
    endif()
    if(L2FLOW_COVERAGE) # neither optimised nor unobserved
        math(EXPR A_TIMEOUT "4 * ${A_TIMEOUT}")
    endif()
    add_test(NAME ${name} COMMAND ${A_COMMAND} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77
        ENVIRONMENT "L2FLOW_BIN=${CMAKE_BINARY_DIR}/bin;L2FLOW_BUILD=${CMAKE_BINARY_DIR};L2FLOW_PYTHON=${L2FLOW_PYTHON};PYTHONPATH=${CMAKE_SOURCE_DIR}/tests/support"
        ${A_PROPERTIES})
endfunction()
