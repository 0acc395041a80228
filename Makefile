# `make demo` and `make test` need only Python and a C++ compiler; see README.md.
# All their output is in .venv, build, install, log and out, inside this folder.

SHELL := /bin/bash
PYTHON ?= python3
TORCH ?= torch==2.13.0
ROS ?= kilted
# processes of `make test`
JOBS ?= 2

export TORCH ROS
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export AMENT_PREFIX_PATH := $(CURDIR)/.venv
export CMAKE_PREFIX_PATH := $(CURDIR)/.venv
export ROS_LOG_DIR := $(CURDIR)/out/log
export TMPDIR := $(CURDIR)/build/tmp

PATHS := --log-base log build --build-base build --install-base install --merge-install --symlink-install
CMAKE_ARGS := -DPython3_EXECUTABLE=$(CURDIR)/.venv/bin/python -DCMAKE_BUILD_TYPE=Release -G Ninja

.PHONY: help demo test build interfaces lint docs venv clean

help:
	@echo "make demo   install everything and run the main job: image and events in, masks out, pictures in out/demo"
	@echo "make test   run all tests"
	@echo "make lint   ruff (rules and format) and mypy"
	@echo "make docs   the documentation as a site, in build/site"
	@echo "make clean  remove what was built (.venv stays)"

venv:
	@mkdir -p $(TMPDIR)
	@$(PYTHON) tools/bootstrap.py

# The package is built through a link: CMake refuses to export include folders inside the source folder, and .venv has
# some.
build: venv
	@mkdir -p build/ws && ln -sfn ../.. build/ws/mambaseg_ros
	@echo "build: messages, node and operators with colcon"
	@colcon $(PATHS) --base-paths build/ws --cmake-args $(CMAKE_ARGS)
	@ln -sf $(CURDIR)/install/lib/python*/site-packages/mambaseg_core/_C.so mambaseg_core/ # for Python started in this folder

# other packages' messages that only the tests need
interfaces: build
	@echo "build: message packages of the tests"
	@colcon --log-base log build --build-base build/interfaces --install-base install --merge-install \
	  --base-paths test/interfaces --cmake-args $(CMAKE_ARGS)

demo: build
	@source install/setup.bash && python tools/demo.py out/demo

test: interfaces
	@source install/setup.bash && python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: venv
	@ruff check . && ruff format --check . && mypy

# an environment of its own, which wants Python 3.11 or later: PYTHON=python3.12 make docs
docs:
	@mkdir -p $(TMPDIR)
	@test -x build/docs/bin/python || $(PYTHON) -m venv build/docs
	@build/docs/bin/python -m pip install -q --disable-pip-version-check -r requirements/docs.txt
	@NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --site-dir build/site

clean:
	rm -rf build install log out
