# The Python folders, the executable, launch and config files, and the compiled operators.

# The Python of the environment that colcon runs in: a virtual environment over /opt/ros if one is active.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

install(DIRECTORY mambaseg_core mambaseg_ros
  DESTINATION ${PYTHON_INSTALL_DIR}
  PATTERN "__pycache__" EXCLUDE
  PATTERN "*.so" EXCLUDE
)
install(DIRECTORY launch config DESTINATION share/${PROJECT_NAME})

# Both start with the Python that has torch, not with the `python3` found at run time. INTERRUPTED is the exit status
# after a signal.
function(install_command NAME MODULE INTERRUPTED FOLDER)
  configure_file(cmake/command.in ${NAME} @ONLY)
  install(PROGRAMS ${CMAKE_CURRENT_BINARY_DIR}/${NAME} DESTINATION ${FOLDER})
endfunction()
install_command(segmentation_node mambaseg_ros.node 0 lib/${PROJECT_NAME})
install_command(mambaseg mambaseg_ros 130 bin)

# setup.py builds the extension. Without torch or a compiler the plain PyTorch operators run.
execute_process(
  COMMAND ${Python3_EXECUTABLE} -c "import torch"
  RESULT_VARIABLE MAMBASEG_NO_TORCH OUTPUT_QUIET ERROR_QUIET
)
if(MAMBASEG_NO_TORCH)
  message(WARNING "${Python3_EXECUTABLE} has no torch: mambaseg_ros is built without its compiled operators. "
    "Install torch into that environment (README, 'On a ROS 2 machine') and build again.")
elseif(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/csrc)
  file(GLOB_RECURSE MAMBASEG_CSRC CONFIGURE_DEPENDS csrc/*)
  add_custom_command(
    OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/extension.stamp
    COMMAND ${Python3_EXECUTABLE} setup.py -q build_ext
      --build-lib ${CMAKE_CURRENT_BINARY_DIR}/extension --build-temp ${CMAKE_CURRENT_BINARY_DIR}/extension_temp
    COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_CURRENT_BINARY_DIR}/extension.stamp
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
    DEPENDS setup.py ${MAMBASEG_CSRC}
  )
  add_custom_target(mambaseg_extension ALL DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/extension.stamp)
  install(DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/extension/mambaseg_core
    DESTINATION ${PYTHON_INSTALL_DIR} OPTIONAL FILES_MATCHING PATTERN "*.so")
endif()
