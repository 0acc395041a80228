# `colcon test` runs test/ on the installed package if ament_cmake_pytest and pytest are installed. The other packages
# that the tests import are listed in requirements/python.txt.
if(BUILD_TESTING)
  find_package(ament_cmake_pytest QUIET)
endif()
if(ament_cmake_pytest_FOUND)
  ament_add_pytest_test(pytest test
    PYTHON_EXECUTABLE ${Python3_EXECUTABLE}
    TIMEOUT 7200
    APPEND_ENV
      AMENT_PREFIX_PATH=${CMAKE_INSTALL_PREFIX}
      PATH=${CMAKE_INSTALL_PREFIX}/bin
      PYTHONPATH=${CMAKE_INSTALL_PREFIX}/${PYTHON_INSTALL_DIR}
    APPEND_LIBRARY_DIRS ${CMAKE_INSTALL_PREFIX}/lib
  )
endif()
