# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
# What one does with a checkout. `make` alone lists it; every target sets up what it needs.
SHELL := /bin/bash
PYTHON ?= python3
RKNN_PYTHON ?= $(PYTHON)
LEROBOT_PYTHON ?= $(PYTHON)
PYTEST_ARGS ?=
CODES ?=
CTEST_ARGS ?=
CORES := $(shell nproc)
WORKERS ?= $(shell echo $$(($(CORES) + 2)))
ROBOT ?= lite3
TASK ?= walk
SEED ?= 1
SAMPLES ?= 10e6
OUTPUT ?= out/train/$(ROBOT)_seed$(SEED)
KIND ?= act
ARM_OUTPUT ?= out/train_arm/$(KIND)_seed$(SEED)
# Tests start hundreds of processes, and each would compile all of the suite.
unexport PYTHONDONTWRITEBYTECODE
IN_WORKSPACE := . .venv/bin/activate && . install/setup.bash &&
# The workspace without .venv: packages of LeRobot's own versions, and of ours from install/.
IN_LEROBOT := . install/setup.bash && OMP_WAIT_POLICY=PASSIVE .venv-lerobot/bin/python
DEMO_ARGS := $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(BACKEND),--backend "$(BACKEND)") \
  $(foreach option,$(BACKEND_OPTION),--backend-option "$(option)") \
  $(if $(SECONDS),--seconds $(SECONDS)) $(if $(filter yes,$(LOCKSTEP)),--lockstep) $(if $(filter no,$(IMAGES)),--no-images) --output out/demo
DEMO_ACT_ARGS := $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(BACKEND),--backend "$(BACKEND)") \
  $(foreach option,$(BACKEND_OPTION),--backend-option "$(option)") \
  $(if $(MODE),--mode $(MODE)) $(if $(EPISODES),--episodes $(EPISODES)) $(if $(filter no,$(IMAGES)),--no-images) --output out/demo-act
DEMO_SET_ARGS := $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(SWITCHES),--switches $(SWITCHES)) \
  $(if $(filter no,$(IMAGES)),--no-images) --output out/demo-set
DEMO_FLEET_ARGS := $(if $(ROBOTS),--robots $(ROBOTS)) \
  $(if $(RELEASES),--releases $(RELEASES)) $(if $(INTERRUPTIONS),--interruptions $(INTERRUPTIONS)) --output out/demo-fleet

# RealtimeSanitizer came with Clang 20.
RTSAN_CXX ?= $(lastword $(wildcard /usr/bin/clang++-2?))

# Tests: by this Python, of these markers, with these options, in this folder (or in all that belong
# to the workspace). First those that go by the clock, alone; then the others on all cores, and two
# more at a time, since those over ROS mostly wait. Status 5: there is no such test. With AGAIN, what
# failed runs once more, alone and listed.
AGAIN :=
SAY_LEFT_OUT :=
tests = status=0; ran=; \
  run() { local of=0; $(1) -m pytest "$$@" $(3) $(PYTEST_ARGS) $(CODES:%=--codes %) || of=$$?; \
    if [ "$$of $(AGAIN)" = "1 yes" ]; then of=0; \
      $(1) -m pytest "$$@" $(3) $(PYTEST_ARGS) $(CODES:%=--codes %) -n 0 -v --last-failed --last-failed-no-failures none || of=$$?; fi; \
    [ $$of = 0 ] || [ $$of = 5 ] || status=$$of; ran="$$ran$$of "; }; \
  run -n 0 -m "$(2) and real_time" \
    $$(grep -rl 'mark\.real_time' --include='test_*.py' $(or $(4),--exclude-dir=lerobot src test)); \
  run -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "$(2) and not real_time" $(SAY_LEFT_OUT) $(4); \
  [[ $$ran == *0* ]] || status=$${status/\#0/5}; exit $$status

.DEFAULT_GOAL := help
.PHONY: help setup setup-torch setup-rknn setup-lerobot setup-ray setup-docs lint test test-slow test-pages test-all \
  docs test-cpp test-torch test-rknn test-lerobot test-ray acceptance chaos codes sbom train train-arm demo demo-act \
  demo-fleet demo-set bench clean coverage

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

setup:  ## Environment in .venv, build in install/ (ROS_DISTRO=kilted, PYTHON=python3.12)
	@$(PYTHON) -m tools.setup

# run: {needs: torch}
setup-torch: setup  ## PyTorch beside that, in .venv-torch
	@$(PYTHON) -m tools.setup torch

# run: {needs: rknn}
setup-rknn: setup  ## RKNN Toolkit2, which compiles for Rockchip NPUs, in .venv-rknn (RKNN_PYTHON=python3.12)
	@$(RKNN_PYTHON) -m tools.setup.rknn

# run: {needs: lerobot}
setup-lerobot: setup  ## LeRobot with ROS 2 beside it, in .venv-lerobot (LEROBOT_PYTHON=python3.12)
	@$(LEROBOT_PYTHON) -m tools.setup.lerobot

# run: {needs: ray}
setup-ray: setup  ## Ray beside that, in .venv-ray
	@$(PYTHON) -m tools.setup ray

setup-docs: setup  ## What builds the documentation, in .venv-docs
	@$(PYTHON) -m tools.setup docs

lint: setup  ## Style, types, import rules, plain English
	@$(IN_WORKSPACE) ruff check .
	@$(IN_WORKSPACE) ruff format --check --quiet .
# Apart, because each package has a folder `test`.
	@$(IN_WORKSPACE) for part in src/lerobot_arm_driver src/lerobot_bridge src/lerobot_robot_ros2 src/lerobot_teleoperator_ros2 \
	  src/lite3_driver src/model_tools src/policy_client_cpp src/policy_controllers src/policy_core src/policy_inference src/policy_store src/robot_driver src/robot_operator src/robot_sim src/unitree_driver "$(wildcard bench test) tools examples conftest.py"; do \
	  mypy $$part || exit 1; done
	@$(IN_WORKSPACE) lint-imports
	@$(IN_WORKSPACE) python -m tools.plain_english

test: SAY_LEFT_OUT := --say-left-out
test: setup  ## That it works here: every feature, in minutes (PYTEST_ARGS="-k guard")
	@$(call tests,$(IN_WORKSPACE) python,not slow and not acceptance and not pages,--hypothesis-profile quick)

# In CI, of a slow test with parameters only the first case (SHORT=--short).
SHORT :=
test-slow: setup  ## The tests that take more than two seconds
	@$(call tests,$(IN_WORKSPACE) python,slow and not acceptance and not pages,$(SHORT))

# They run as for a user: without CI's settings.
test-pages: setup  ## Run the commands of the pages, of `make help` and of --help; results in out/commands
	@rm -rf out/commands; status=0; unset CI MAKEFLAGS; \
	run() { local of=0; python -m pytest "$$@" $(PYTEST_ARGS) test/pages || of=$$?; [ $$of = 5 ] || [ $$of = 0 ] || status=$$of; }; \
	$(IN_WORKSPACE) run -n 2 -m "pages and not real_time" || status=1; run -n 0 -m "pages and real_time"; \
	PYTHONPATH="$(CURDIR)/test/lib:$$PYTHONPATH" python -m testkit.pages out/commands && exit $$status

# run: {swap: {make: make --dry-run}}
test-all: setup  ## All these, coverage of the kernel and C++; not the long ones, PyTorch, RKNN and LeRobot
	@status=0; for target in test test-slow coverage test-cpp test-pages; do \
	  $(MAKE) --no-print-directory $$target || status=$$?; done; exit $$status

# Tracing takes the time that tests with made-up files are allowed.
TRACED := $(filter-out %/test_fuzz.py,$(wildcard $(addprefix src/policy_core/test/,test_*.py */test_*.py)))
coverage: setup  ## Line and branch coverage of the kernel by its own tests
	@$(IN_WORKSPACE) python -m pytest -n $(CORES) -q -m "not acceptance" \
	  --cov policy_core --cov-branch --cov-report term $(CODES:%=--codes %) $(TRACED)

codes: setup  ## Which codes tests have produced (after `make test-all CODES=out/codes.json`)
	@$(IN_WORKSPACE) PYTHONPATH="$(CURDIR)/test/lib:$$PYTHONPATH" python -m testkit.known_codes $(or $(CODES),out/codes.json)

# run: {needs: docs}
docs: setup-docs  ## The documentation site, in out/docs/html
	@$(IN_WORKSPACE) .venv-docs/bin/python -m tools.docs

# Builds a package with each sanitizer and runs its checks: (package, prefix of its options, sanitizers,
# more options). Into a log: compilers and doctest say much where nothing is wrong.
comma := ,
cpp = for sanitizer in $(3); do \
    folder=build/$(1)_test/$$sanitizer; mkdir -p $$folder; flag=$${sanitizer/release}; \
    { cmake -S src/$(1) -B $$folder -D$(2)_TESTS=ON -D$(2)_SANITIZE=$$flag -D$(2)_EXAMPLES=$$([ $$flag ] && echo OFF || echo ON) \
        -DPython_EXECUTABLE="$$(command -v python)" \
        $$([ "$$flag" != realtime ] || echo -DCMAKE_CXX_COMPILER=$(RTSAN_CXX)) $(4) && \
      cmake --build $$folder --parallel $(CORES) --target checks; } > $$folder/build.log 2>&1 || { cat $$folder/build.log; exit 1; }; \
    (cd $$folder && PYTHONPATH="$(CURDIR)/test/lib:$$PYTHONPATH" ctest --output-on-failure --parallel $(CORES) $(CTEST_ARGS)) || exit 1; done

# In CI the client and the controllers, which say less of their own, have one sanitizer or none, and a
# hook on malloc stands for RealtimeSanitizer.
test-cpp: setup  ## Build and test C++, as released and with sanitizers; needs doctest-dev, uses clang-22 (RealtimeSanitizer)
	@$(IN_WORKSPACE) $(call cpp,policy_client_cpp,POLICY_CLIENT,release address$(comma)undefined $(if $(SHORT),,thread),-DPOLICY_CLIENT_WERROR=ON \
	  -DPOLICY_CLIENT_SERVICE_PYTHON="$$(command -v python)" -DCMAKE_BUILD_TYPE=$$([ $$flag ] && echo Debug || echo Release)) && \
	$(call cpp,policy_core_cpp,POLICY_CORE,release address$(comma)undefined thread $(if $(SHORT),,$(if $(RTSAN_CXX),realtime))) && \
	$(call cpp,policy_controllers,POLICY_CONTROLLERS,release $(if $(SHORT),,address$(comma)undefined),-DPOLICY_CORE_SANITIZE=$$flag)

test-torch: setup-torch  ## The tests that need PyTorch
	@$(IN_WORKSPACE) OMP_WAIT_POLICY=PASSIVE .venv-torch/bin/python -m pytest -n $(CORES) --dist worksteal $(SHORT) test/training $(PYTEST_ARGS)

test-rknn: setup-rknn  ## The tests that need RKNN Toolkit2
	@$(IN_WORKSPACE) OMP_WAIT_POLICY=PASSIVE python -m pytest -n $(CORES) --dist worksteal $(SHORT) test/rknn $(PYTEST_ARGS)

# The libraries of its servos spin while they wait.
test-lerobot: WORKERS := $(CORES)
test-lerobot: setup-lerobot  ## The tests that need LeRobot
	@$(call tests,$(IN_LEROBOT),not acceptance,$(SHORT) -p no:cacheprovider,test/lerobot)

test-ray: setup-ray  ## The tests that need Ray: a cluster of two nodes, of which one is killed
	@$(IN_WORKSPACE) .venv-ray/bin/python -c "import ray" && .venv-ray/bin/python -m pytest -n 0 $(SHORT) src/model_tools/test/prove/evaluation/test_ray_pool.py $(PYTEST_ARGS)

# run: {short: PYTEST_ARGS='-k test_a_bundle_that_cannot_be_used'}
acceptance: setup  ## The long tests of the whole suite, and every case of the slow ones
	@$(IN_WORKSPACE) python -m pytest -m "acceptance or fuzz or slow" --hypothesis-profile long $(PYTEST_ARGS)
	@$(IN_WORKSPACE) python -m pytest --python-loop test/e2e test/closed_loop $(PYTEST_ARGS)

# run: {short: SEEDS=0:1 SECONDS=5}
chaos: setup  ## Seeds of requests and faults for all parts at once, in virtual time (SEEDS=0:100, SECONDS=60)
	@$(IN_WORKSPACE) nice python -m tools.chaos --seeds $(or $(SEEDS),0:100) --seconds $(or $(SECONDS),60) --jobs $(CORES) --shrink

sbom: setup  ## Name every package of the locks for this Python, with its hashes, as CycloneDX in out/sbom
# By the locks, since pip installs nothing else (a test holds environments to them), and they know hashes.
	@$(IN_WORKSPACE) rm -rf out/sbom; mkdir -p out/sbom; \
	python=$$(python -c 'import sys; print("py%d%d" % sys.version_info[:2])'); \
	for lock in tools/setup/locks/*-$$python.txt tools/setup/requirements/pytorch-cpu.txt; do \
	  cyclonedx-py requirements --output-reproducible \
	    --output-file out/sbom/$$(basename $$lock .txt).cdx.json $$lock || exit 1; done

# run: {needs: torch, short: ROBOT=lite3_bow TASK=bow START=examples/lite3_walk/agent.pt SAMPLES=2e3}
train: setup-torch  ## Train a policy from scratch; a bundle in OUTPUT (ROBOT=lite3|lite3_velocity|lite3_crouch|go2 SEED=1 SAMPLES=10e6 START=model_1627.pt; ROBOT=lite3_stairs TASK=stairs; ROBOT=lite3_bow TASK=bow)
	@$(IN_WORKSPACE) OMP_WAIT_POLICY=PASSIVE .venv-torch/bin/python -m tools.train_walk \
	  --robot $(ROBOT) --task $(TASK) --seed $(SEED) --samples $(SAMPLES) $(if $(START),--start "$(START)") --output "$(OUTPUT)"

# run: {needs: lerobot, short: SCENES=20 EPISODES=2 STEPS=2 JUDGED=1}
train-arm: setup-lerobot  ## Train a policy that reaches for a cube it sees; a LeRobot checkpoint in ARM_OUTPUT (KIND=act|diffusion|flow SEED=1 SCENES=n EPISODES=n STEPS=n JUDGED=n)
	@$(IN_LEROBOT) -m tools.train_arm --kind $(KIND) --seed $(SEED) $(if $(SCENES),--scenes $(SCENES)) \
	  $(if $(EPISODES),--episodes $(EPISODES)) $(if $(STEPS),--steps $(STEPS) --encoder-steps $(STEPS)) \
	  $(if $(JUDGED),--judged $(JUDGED)) --output "$(ARM_OUTPUT)"

demo: setup  ## A simulated robot walks; results in out/demo (ROBOT=lite3|go2 BUNDLE=dir BACKEND=name SECONDS=n LOCKSTEP=yes IMAGES=no; ROBOT=go2_emulator: in real time; ROBOT=g1 BUNDLE=dir; TASK=stairs: lite3 only)
	@$(if $(filter walk stairs,$(TASK)),,$(error TASK: expected walk or stairs, found $(TASK)))\
	$(if $(and $(filter stairs,$(TASK)),$(SECONDS)),$(error SECONDS: expected none with TASK=stairs, found $(SECONDS); leave it out))\
	$(IN_WORKSPACE) python -m examples.demos.$(TASK) --robot "$(ROBOT)" $(DEMO_ARGS)

# run: {short: EPISODES=1}
demo-act: setup  ## A simulated arm with cameras reaches; results in out/demo-act (BUNDLE=dir BACKEND=name BACKEND_OPTION=... MODE=asynchronous EPISODES=n IMAGES=no)
	@$(IN_WORKSPACE) python -m examples.demos.act $(DEMO_ACT_ARGS)

# run: {swap: {make: make --dry-run}}
demo-fleet: setup  ## Three releases to six simulated robots; results in out/demo-fleet (ROBOTS=n RELEASES=wrong_scale|limping|good_candidate INTERRUPTIONS=n)
	@$(IN_WORKSPACE) python -m examples.demos.fleet $(DEMO_FLEET_ARGS)

# run: {short: SWITCHES=1 IMAGES=no}
demo-set: setup  ## A simulated robot switches between policies; results in out/demo-set (SWITCHES=n BUNDLE=dir IMAGES=no)
	@$(IN_WORKSPACE) python -m examples.demos.policy_set $(DEMO_SET_ARGS)

# run: {short: SMOKE=yes, real_time: yes}
bench: setup  ## Measure speed against baselines; results in out/bench (SECONDS=600: of each row of jitter; SMOKE=yes: only that each part works)
	@$(IN_WORKSPACE) python -m bench $(if $(SECONDS),--seconds $(SECONDS)) $(if $(filter yes,$(SMOKE)),--smoke)

clean:  ## Remove what `make` made, less the results in out/
	rm -rf .venv .venv-torch .venv-rknn .venv-lerobot .venv-ray .venv-docs build install log
