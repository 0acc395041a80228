"""`segmentation_node`: a lifecycle node around a `Pipeline`; image and events in, masks and their status out.

Topics, parameters and clocks are described in docs/ros.md. Callbacks only append to the inbox; the pipeline's two
threads do the rest. The executor is single-threaded.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mambaseg_ros.cores import node_environment, use_threads

os.environ.update(node_environment())  # before the imports of NumPy and torch

from mambaseg_ros import signals

if __name__ == "__main__":
    signals.end_at_once(0)  # before the imports below, which take seconds

import rclpy
import rclpy.parameter
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from mambaseg_core.inference import Segmenter
from mambaseg_ros.background import NodeCallbacks, run_beside_callbacks
from mambaseg_ros.cameras import places
from mambaseg_ros.faults import REPEAT_S, FaultLog, sentence_of
from mambaseg_ros.model import active_line, check_reach, describe, free_memory, make_segmenter
from mambaseg_ros.overrides import check_qos, qos_parameters, sections_of_others, unknown_parameters, unknown_topics
from mambaseg_ros.parameters import PARAMETERS, TABLE, Parameter, Parameters
from mambaseg_ros.pipeline.pipeline import Pipeline
from mambaseg_ros.resources import use_large_image_profile
from mambaseg_ros.topics.class_topics import class_tables, topic_entries
from mambaseg_ros.topics.diagnostics import Condition, Diagnostics
from mambaseg_ros.topics.publishers import OUTPUTS, Publishers
from mambaseg_ros.topics.subscriptions import INFO_TOPICS, KINDS, Subscriptions

try:
    from std_srvs.srv import SetBool
except ImportError:  # the node works without its enable service
    SetBool = None

RCLError = rclpy_implementation.RCLError  # what rclpy.init raises for a broken parameter file
Done = TransitionCallbackReturn
KNOWS_PRE_SET = hasattr(Node, "add_pre_set_parameters_callback")  # since Iron: 10 may become 10.0 before ROS refuses it


class SegmentationNode(LifecycleNode):
    """The lifecycle shell: parameters, services, and a `Pipeline` while it is active."""

    def __init__(self, ended: Future[int] | None = None, **kwargs: Any) -> None:
        self._callbacks_of_all = NodeCallbacks()
        super().__init__("mambaseg", **kwargs)
        self._ended = ended or Future()  # its result is the exit status of the process
        self._refuse_wrong_transitions()
        self._take_overrides()
        for parameter in PARAMETERS:
            self.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))
        self._segmenter: Any = None
        self._outputs: Publishers | None = None
        self._pipeline: Pipeline | None = None
        self._inputs: Subscriptions | None = None
        self._state = "unconfigured"
        self._timers_while_active: list[Any] = []
        if KNOWS_PRE_SET:
            self.add_pre_set_parameters_callback(lambda given: [_in_its_type(parameter) for parameter in given])
        self.add_on_set_parameters_callback(self._check_parameters)
        self._faults, self._condition = FaultLog(), Condition()
        self._diagnostics = Diagnostics(self, self._faults, self._condition)
        _steady_timer(self, 1.0, lambda: self._diagnostics.publish(self._state, self._pipeline, self._inputs))
        if SetBool is None:
            self.get_logger().info("std_srvs is not installed: there is no service ~/enable")
        else:
            self.create_service(SetBool, "~/enable", self._enable)

    @property
    def default_callback_group(self) -> NodeCallbacks:
        """The callback group of all timers, services and subscriptions, those that rclpy makes included."""
        return self._callbacks_of_all

    def start_by_itself(self) -> None:
        """Configure and activate, in place of a lifecycle manager."""
        success = self.trigger_configure() == Done.SUCCESS and self.trigger_activate() == Done.SUCCESS
        if not success and self.get_parameter("exit_on_failure").value:
            self._ended.set_result(1)

    # -- lifecycle ---------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model, make the publishers. Undo all of it where anything fails."""
        return self._transition("configure", self._load, self._release, "inactive")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the pipeline and subscribe. Undo both where anything fails."""

        def work() -> None:
            super(SegmentationNode, self).on_activate(state)
            self._start(self._read_parameters())
            self._condition.enabled = True

        def undo() -> None:
            self.stop()
            super(SegmentationNode, self).on_deactivate(state)

        return self._transition("activate", work, undo, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and end the pipeline."""
        self._rest()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the model and the publishers back."""
        self._release()
        self._state = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the pipeline and give everything back, whatever the state."""
        self.stop()
        self._release()
        self._state = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin anew as unconfigured after a transition raised."""
        self.stop()
        self._release()
        self._state = "unconfigured"
        return Done.SUCCESS

    def _refuse_wrong_transitions(self) -> None:
        """Answer False to a transition that does not fit the state; rclpy before Kilted raises, which ends the node."""
        change = self._service_change_state.callback

        def answer(request: Any, response: Any) -> Any:
            try:
                return change(request, response)
            except RCLError:
                wanted = request.transition.label or request.transition.id
                self.get_logger().warning(
                    f"transition {wanted} is refused: the node is {self._state}; expected one that "
                    f"`ros2 lifecycle list {self.get_fully_qualified_name()}` shows: do that first"
                )
                response.success = False
                return response

        self._service_change_state.callback = answer

    def _transition(
        self, what: str, work: Callable[[], None], undo: Callable[[], None], state: str
    ) -> TransitionCallbackReturn:
        """Do the work, or undo it and put the reason into the log and /diagnostics."""
        before, self._state = self._state, what.removesuffix("e") + "ing"
        try:
            work()
        except Exception as error:  # rclpy would swallow it: a model may raise anything while it is loaded
            self._state = before
            self._condition.reason = f"cannot {what}: {sentence_of(error)}"
            self.get_logger().error(self._condition.reason)
        else:
            self._condition.reason, self._state = "", state
            return Done.SUCCESS
        undo()  # now that no traceback holds what was loaded of a model
        return Done.FAILURE

    def _load(self) -> None:
        parameters, begin = self._read_parameters(), time.monotonic()
        self._condition.begin_task(f"loading {parameters.model} (weights {parameters.weights or 'as shipped'})")

        def load() -> tuple[Segmenter, dict[str, str]]:
            segmenter = make_segmenter(parameters, warn=self.get_logger().warning)
            check_reach(parameters, segmenter.preprocessing)
            return segmenter, describe(segmenter, parameters)

        try:
            self._segmenter, self._condition.model = run_beside_callbacks(self, load, self._ended.done)
        finally:
            self._condition.begin_task("")
        self._condition.model["load time [s]"] = f"{time.monotonic() - begin:.1f}"
        labels = self._segmenter.preprocessing.label_set
        self._outputs = Publishers(
            self,
            labels,
            classes=class_tables(parameters.publish_classes, labels),
            faults=self._faults,
            counts=lambda: {} if self._pipeline is None else self._pipeline.counts(),
            qos_met=lambda: None if self._inputs is None else self._inputs.count_qos(),
        )
        self._outputs.on_report = self._diagnostics.add

    def _release(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        self._segmenter, self._outputs, self._condition.model = None, None, {}
        free_memory()

    def _start(self, parameters: Parameters) -> None:
        if self._outputs is None:
            raise ValueError("the node has no model; expected it configured: configure it first")
        check_reach(parameters, self._segmenter.preprocessing)
        self._diagnostics.begin()
        self._outputs.alpha = parameters.overlay_alpha
        self._pipeline = Pipeline(self._segmenter, parameters, self._outputs)
        self._inputs = Subscriptions(self, parameters, self._pipeline, self._outputs)
        self._pipeline.start()
        self._outputs.labels()
        for period_s, callback in ((0.1, self._inputs.poll), (REPEAT_S, self._inputs.complain)):
            self._timers_while_active.append(_steady_timer(self, period_s, callback))
        self._inputs.poll()
        self.get_logger().info(active_line(self._condition.model))

    def stop(self, timeout: float | None = None) -> bool:
        """Unsubscribe and end the pipeline; return True if its threads ended within `timeout` seconds."""
        pipeline, inputs = self._pipeline, self._inputs
        self._pipeline = self._inputs = None
        for timer in self._timers_while_active:
            self.destroy_timer(timer)
        self._timers_while_active.clear()
        if inputs is not None:
            inputs.destroy()
        return pipeline is None or pipeline.stop(timeout)

    def _rest(self) -> None:
        """Stop, and give back what the events took; the model stays loaded."""
        self.stop()
        free_memory()

    def destroy_node(self) -> None:
        """Leave the graph at once; rclpy's life cycle keeps the node in it until it is collected, others for 20 s."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def _enable(self, request: Any, response: Any) -> Any:
        """Serve ~/enable: rest without unloading the model, and go on."""
        if self._state != "active":
            response.message = f"the node is {self._state}; expected it active: configure and activate it first"
            return response
        if request.data != (self._pipeline is not None):
            self._rest()
            try:
                if request.data:
                    self._start(self._read_parameters())
            except Exception as error:  # an exception in a service would end the node
                response.message = f"cannot enable: {sentence_of(error)}"
                return response
            self._condition.enabled = bool(request.data)
        response.success = True
        response.message = "running" if request.data else "resting: the model stays loaded, nothing is subscribed"
        return response

    # -- parameters --------------------------------------------------------------------------------------------

    def _take_overrides(self) -> None:
        """Put numbers of the command line and of parameter files into the parameters' types.

        Raises:
            ValueError: a value is of another type, or out of bounds.
        """
        for name, given in self._parameter_overrides.items():
            check_qos(name, given.value)
            if name in TABLE:
                self._parameter_overrides[name] = _in_its_type(given)
                TABLE[name].check(self._parameter_overrides[name].value)

    def warn_of_ignored(self, words: list[str]) -> None:
        """Warn of what a command line sets that this node does not take; ROS ignores it in silence."""
        classes = topic_entries(self.get_parameter("publish_classes").value)
        outputs = [self.resolve_topic_name(topic) for topic in OUTPUTS]
        outputs += [f"{self.get_fully_qualified_name()}/classes/{name}" for name, _ in classes]
        known = [name for name in self._parameter_overrides if self.has_parameter(name)]
        known += [*TABLE, *qos_parameters(outputs)]
        for sentence in (
            *unknown_parameters(self._parameter_overrides, known),
            *sections_of_others(words, self.get_fully_qualified_name()),
            *unknown_topics(words, (*KINDS, *INFO_TOPICS)),
        ):
            self.get_logger().warning(sentence)

    def _read_parameters(self) -> Parameters:
        return Parameters(**{name: row.whole_or_float(self.get_parameter(name).value) for name, row in TABLE.items()})

    def _check_parameters(self, parameters: list[Any]) -> SetParametersResult:
        changed = {
            given.name: TABLE[given.name].whole_or_float(given.value) for given in parameters if given.name in TABLE
        }
        try:
            for name, value in changed.items():
                TABLE[name].check(value)
                TABLE[name].check_change(self._state)
            if self._pipeline is not None and changed:
                self._follow(replace(self._read_parameters(), **changed))
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _follow(self, parameters: Parameters) -> None:
        """Take the parameters that may change while the node is active."""
        assert self._pipeline is not None  # it is active
        assert self._outputs is not None
        check_reach(parameters, self._segmenter.preprocessing)
        self._pipeline.worker.parameters = parameters
        self._outputs.alpha = parameters.overlay_alpha


def _in_its_type(given: Any) -> Any:
    """Return a parameter of ROS with its number in the type that the table declares: 10 becomes 10.0."""
    if given.name not in TABLE:
        return given
    return rclpy.parameter.Parameter(given.name, value=TABLE[given.name].whole_or_float(given.value))


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Return a row of the table as ROS shows it."""
    descriptor = ParameterDescriptor(description=parameter.meaning, read_only=parameter.changes == "never")
    descriptor.dynamic_typing = not KNOWS_PRE_SET  # the node itself checks types
    if parameter.bounds is not None and isinstance(parameter.default, float):
        low, high = parameter.bounds
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif parameter.bounds is not None:
        low, high = int(parameter.bounds[0]), int(parameter.bounds[1])
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    elif parameter.choices is not None:
        descriptor.additional_constraints = parameter.limits
    return descriptor


def _steady_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Any:
    """Return a timer of the machine's clock, which also ticks under simulated time without /clock."""
    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def main(args: list[str] | None = None) -> int:
    """Run the node, or one for each camera, until a signal comes."""
    ended: Future[int] = Future()
    signals.end_by_callback(lambda: ended.set_result(0))
    use_large_image_profile()
    use_threads(0)  # of the threads that start before a model is loaded
    words = sys.argv if args is None else args
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        executor, nodes = SingleThreadedExecutor(), [SegmentationNode(ended, **place) for place in places(words)]
        for node in nodes:
            node.warn_of_ignored(words)
    except (ParameterException, RCLError, ValueError) as error:
        print(f"segmentation_node: {error}; see its table of parameters in docs/ros.md", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    for node in nodes:
        executor.add_node(node)
        if node.get_parameter("autostart").value:
            executor.create_task(node.start_by_itself)
    with suppress(KeyboardInterrupt):
        executor.spin_until_future_complete(ended)
    stopped = [node.stop(timeout=signals.END_S) for node in nodes]
    if all(stopped):
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
    sys.stdout.flush()
    # at once: a model that loads or infers cannot be interrupted, and one at rest takes a second to be freed
    os._exit(ended.result() or 0)


if __name__ == "__main__":
    sys.exit(main())
