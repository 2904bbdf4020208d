"""One node's way through the runner, walked by ministack's interpreter of state machines, without ministack.

Reads {"machine", "executionInput", "input", "variables", "answers"} from standard input and writes {"way", "calls", "output",
"error"}. `answers` has, by state, what its calls come to, one after the other, the last one for all that follow:
{"result": ...} or {"error": ..., "cause": ...}. A call to the table that has none succeeds.
"""

import copy
import json
import sys

from ministack.services import stepfunctions

given = json.load(sys.stdin)
way: list = []
calls: list = []
under_way = None


def walked(execute):
    def step(state, node, *rest):
        global under_way
        under_way = rest[-1]["State"]["Name"]
        way.append(under_way)
        return execute(state, node, *rest)

    return step


def answer(resource, arguments, *_callback):
    calls.append({"state": under_way, "resource": resource, "arguments": copy.deepcopy(arguments)})
    scripted = given["answers"].get(under_way)
    if scripted is None and "dynamodb:updateItem" in resource:
        # What an update gives back of the attributes that the runner asks for.
        written = arguments["ExpressionAttributeValues"].get(":bytes")
        if "resultBytes = answerBytes" in arguments["UpdateExpression"]:
            written = {"N": "7"}
        return {"Attributes": {"resultBytes": written}} if written else {}
    if not scripted:
        raise SystemExit(f"there is no answer to {under_way}")
    said = scripted.pop(0) if len(scripted) > 1 else scripted[0]
    if "error" in said:
        raise stepfunctions._ExecutionError(said["error"], said["cause"])
    return said["result"]


for kind in ["task", "choice", "wait", "pass"]:
    name = f"_execute_{kind}"
    setattr(stepfunctions, name, walked(getattr(stepfunctions, name)))
stepfunctions._invoke_resource = answer
stepfunctions._invoke_with_callback = answer
stepfunctions._scaled_sleep = lambda _seconds: None

context = {
    "QueryLanguage": "JSONata",
    "Execution": {"Id": "arn:aws:states:::execution:runner:run", "Name": "run", "Input": given["executionInput"]},
    "StateMachine": {"Id": "arn:aws:states:::stateMachine:runner", "Name": "runner"},
    "variables": given["variables"],
}
machine = given["machine"]
found = {"way": way, "calls": calls}
try:
    node = given["input"]
    found["output"] = stepfunctions._run_sub_machine(machine["States"], machine["StartAt"], node, {"events": []}, context)
except stepfunctions._ExecutionError as error:
    found["error"] = {"error": error.error, "cause": error.cause}
json.dump(found, sys.stdout)
