# Flags of every target. Hardening follows the OpenSSF guide; -ffp-contract=off keeps features the same on every CPU.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # _GNU_SOURCE for clock, argp, sockets
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_FLAGS_DEBUG "")
set(CMAKE_C_FLAGS_RELEASE "") # never -DNDEBUG: asserts stay on
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

include(CheckPIESupported)
check_pie_supported()

add_library(l2flow_flags INTERFACE)
target_compile_definitions(l2flow_flags INTERFACE _GNU_SOURCE L2FLOW_VERSION="${PROJECT_VERSION}")
target_include_directories(l2flow_flags INTERFACE ${CMAKE_SOURCE_DIR}/common ${CMAKE_BINARY_DIR}/gen)
target_compile_options(l2flow_flags INTERFACE
    ${L2FLOW_OPT}
    -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wimplicit-fallthrough -Wundef -Wstrict-prototypes -Wvla
    -ffp-contract=off -fno-strict-aliasing -fno-common
    -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
    -ftrivial-auto-var-init=zero
    -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
target_link_options(l2flow_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
if(L2FLOW_WERROR)
    target_compile_options(l2flow_flags INTERFACE -Werror)
endif()
if(L2FLOW_SANITIZE)
    target_compile_options(l2flow_flags INTERFACE -fsanitize=${L2FLOW_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(l2flow_flags INTERFACE -fsanitize=${L2FLOW_SANITIZE})
elseif(NOT L2FLOW_COVERAGE) # which does not optimise, as fortification needs
    target_compile_options(l2flow_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
if(L2FLOW_COVERAGE)
    # Counters are bumped from several threads, but for the pure parts, of which a test has one: there it would take most
    # of the time
    set(pure "$<IN_LIST:$<TARGET_PROPERTY:NAME>,l2_domain;l2_alerts;fp_core;qm_core;en_core;sim_fp;sim_psi>")
    target_compile_options(l2flow_flags INTERFACE --coverage -fprofile-update=$<IF:${pure},single,atomic>)
    target_link_options(l2flow_flags INTERFACE --coverage)
endif()
if(L2FLOW_FUZZ)
    target_compile_options(l2flow_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
