"""The runner played in virtual time: the real state machine, its expressions evaluated by ministack's interpreter.

Every line of standard input is an answer to the last line of standard output, but for the first two:
  {"machine": ...}                                        the state machine
  {"input": ..., "calls": {node: [{"seconds", "error"?}]}}  a run, and what the calls of its processors come to, one after
                                                          the other, the last one for all that follow
  {"ask": ...} -> {"told": [{"token", "output"}], "payload"?: ..., "error"?: ...}
                                                          what the function that decides is asked, and what it does
  {"end": {"seconds", "transitions", "events", "states", "output"?, "error"?}} -> the next run
"""

import heapq
import itertools
import json
import sys

import jsonata
from ministack.services import stepfunctions

ASK_SECONDS = 0.05
TABLE_SECONDS = 0.02
ITERATIONS_AT_ONCE = 40


class Expressions:
    """Each expression is parsed once."""

    utils = jsonata.utils
    known: dict = {}

    class Jsonata:
        @staticmethod
        def jsonata(expression, timeout=None):
            known = Expressions.known
            if expression not in known:
                known[expression] = jsonata.Jsonata.jsonata(expression)
                register(known[expression])
            return known[expression]


register = stepfunctions._register_sfn_jsonata_functions
stepfunctions._register_sfn_jsonata_functions = lambda _expression: None
stepfunctions.jsonata = Expressions
Failed = stepfunctions._ExecutionError


def said(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer:
        raise SystemExit("nobody answers")
    return json.loads(answer)


class Run:
    def __init__(self, machine, execution_input, calls):
        self.now = 0.0
        self.due: list = []
        self.order = itertools.count()
        self.tokens = itertools.count(1)
        self.waiting: dict = {}
        self.calls = calls
        self.transitions = 0
        self.events = 2
        self.states: dict = {}
        self.ended = None
        context = {
            "QueryLanguage": "JSONata",
            "Execution": {"Id": "arn:aws:states:::execution:runner:run", "Name": "run", "Input": execution_input},
            "variables": {},
        }
        self.drive(self.walk(machine, {}, context), self.end)

    def end(self, output, error):
        self.ended = {"error": error.error, "cause": error.cause} if error else {"output": output}

    def after(self, seconds, do):
        heapq.heappush(self.due, (self.now + seconds, next(self.order), do))

    def play(self):
        while self.ended is None:
            if not self.due:
                raise SystemExit(f"nothing is under way, and {sorted(self.waiting)} wait")
            self.now, _, do = heapq.heappop(self.due)
            do()
        return {
            "seconds": self.now,
            "transitions": self.transitions,
            "events": self.events,
            "states": self.states,
            **self.ended,
        }

    def drive(self, walk, done, value=None, error=None):
        """Goes on with a walk until it waits for something or ends."""
        try:
            asked, *rest = walk.throw(error) if error else walk.send(value)
        except StopIteration as stop:
            return done(stop.value, None)
        except Failed as failure:
            return done(None, failure)
        go_on = lambda value=None, error=None: self.drive(walk, done, value, error)
        if asked == "sleep":
            self.after(rest[0], go_on)
        elif asked == "call":
            self.call(*rest, go_on)
        else:
            self.iterate(rest[0], go_on)

    def iterate(self, walks, go_on):
        results = [None] * len(walks)
        left, later = len(walks), list(enumerate(walks))
        is_over = False

        def begin():
            if later:
                index, walk = later.pop(0)
                self.events += 1
                self.drive(walk, lambda value, error: end(index, value, error))

        def end(index, value, error):
            nonlocal left, is_over
            self.events += 1
            left -= 1
            results[index] = value
            if is_over:
                return
            if error or left == 0:
                is_over = True
                self.after(0, lambda: go_on(results, error))
            else:
                begin()

        if not walks:
            self.after(0, lambda: go_on([]))
        for _ in range(min(ITERATIONS_AT_ONCE, len(walks))):
            begin()

    def call(self, resource, arguments, token, timeout, go_on):
        if "dynamodb:updateItem" in resource:
            written = arguments["ExpressionAttributeValues"].get(":bytes")
            result = {"Attributes": {"resultBytes": written}} if written else {}
            return self.after(TABLE_SECONDS, lambda: go_on(result))
        if arguments.get("FunctionName") == "${AdvanceRunArn}":
            if token:
                self.waiting[token] = go_on
            return self.after(ASK_SECONDS, lambda: self.ask(arguments["Payload"], token, go_on))
        request = arguments.get("Payload", arguments.get("Input"))
        script = self.calls[request["nodeId"]]
        outcome = script.pop(0) if len(script) > 1 else script[0]
        if timeout is not None and outcome["seconds"] > timeout:
            return self.after(timeout, lambda: go_on(error=Failed("States.Timeout", "it took too long")))
        if "error" in outcome:
            return self.after(outcome["seconds"], lambda: go_on(error=Failed(outcome["error"], "as it was told")))
        result = outcome.get("result", {"node": request["nodeId"]})
        self.after(outcome["seconds"], lambda: go_on({"Payload": result, "Output": result}))

    def ask(self, payload, token, go_on):
        answer = said({"ask": payload, "seconds": self.now})
        for told in answer.get("told", []):
            # A token that is waited for no longer tells nobody anything.
            waits = self.waiting.pop(told["token"], None)
            if waits:
                self.after(0, lambda waits=waits, told=told: waits(told["output"]))
        if "error" in answer:
            self.waiting.pop(token, None)
            go_on(error=Failed(answer["error"], "as it was told"))
        elif not token:
            go_on({"Payload": answer["payload"]})

    def walk(self, machine, data, context):
        name = machine["StartAt"]
        while name:
            state = machine["States"][name]
            self.transitions += 1
            self.states[name] = self.states.get(name, 0) + 1
            context["State"] = {"Name": name, "EnteredTime": f"{self.now:.3f}", "RetryCount": 0}
            kind = state["Type"]
            if kind == "Fail":
                self.events += 1
                raise Failed(*stepfunctions._fail_state_error(state, data, context))
            if kind == "Task":
                data, name = yield from self.task(state, data, context)
                continue
            if kind == "Map":
                data, name = yield from self.map(state, data, context)
                continue
            self.events += 2
            if kind == "Choice":
                data, name = stepfunctions._execute_choice(state, data, context)
            elif kind == "Pass":
                data, name = stepfunctions._execute_pass(state, data, context)
            else:
                yield "sleep", stepfunctions._jsonata_wait_seconds(state, data, context)
                output = stepfunctions._apply_jsonata_output(state, data, context, default=data)
                stepfunctions._apply_state_assign(state, data, context)
                data, name = output, state["Next"]
        return data

    def task(self, state, data, context):
        resource = state["Resource"]
        waits = resource.endswith(".waitForTaskToken")
        attempt_events = 3 + int(waits or ".sync" in resource)
        self.events += 2
        repeats: dict = {}
        while True:
            token = f"token-{next(self.tokens)}" if waits else None
            context["Task"] = {"Token": token}
            has_called = False
            try:
                arguments = stepfunctions._apply_jsonata_arguments(state, data, context)
                timeout = stepfunctions._apply_jsonata_template(state.get("TimeoutSeconds"), data, context)
                self.events += attempt_events
                has_called = True
                result = yield "call", resource, arguments, token, timeout
                output = stepfunctions._apply_jsonata_output(state, data, context, result=result, default=result)
                stepfunctions._apply_state_assign(state, data, context, result=result)
                return output, state.get("Next")
            except Failed as failure:
                if failure.error == "States.QueryEvaluationError":
                    self.events += 1
                retrier, index = stepfunctions._find_matching_retrier(state.get("Retry", []), failure.error, repeats)
                if retrier is not None:
                    count = repeats.get(index, 0)
                    seconds = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2) ** count
                    repeats[index] = count + 1
                    yield "sleep", min(seconds, retrier.get("MaxDelaySeconds", seconds))
                    continue
                catcher = stepfunctions._find_matching_catcher(state.get("Catch", []), failure.error)
                if catcher is None:
                    raise
                error = {"Error": failure.error, "Cause": failure.cause}
                output = stepfunctions._apply_catcher(catcher, data, context, "JSONata", error)
                return output, catcher["Next"]

    def map(self, state, data, context):
        self.events += 4
        items = stepfunctions._jsonata_state_field(state, "Items", "array", data, context)
        walks = []
        for index, item in enumerate(items):
            inner = {**context, "variables": dict(context["variables"]), "Map": {"Item": {"Index": index, "Value": item}}}
            selected = item
            if "ItemSelector" in state:
                selected = stepfunctions._apply_jsonata_template(state["ItemSelector"], data, inner)
            walks.append(self.walk(state["ItemProcessor"], selected, inner))
        results = yield "map", walks
        output = stepfunctions._apply_jsonata_output(state, data, context, result=results, default=results)
        stepfunctions._apply_state_assign(state, data, context, result=results)
        return output, state.get("Next")


machine = json.loads(sys.stdin.readline())["machine"]
line = sys.stdin.readline()
while line:
    given = json.loads(line)
    run = Run(machine, given["input"], given["calls"])
    sys.stdout.write(json.dumps({"end": run.play()}) + "\n")
    sys.stdout.flush()
    line = sys.stdin.readline()
