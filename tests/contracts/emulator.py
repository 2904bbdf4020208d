"""What the local stack's emulator does with states of the second runner, its services replaced. Prints what came of each."""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra/local/python"))

import emulator  # noqa: E402
from ministack.services import stepfunctions  # noqa: E402

asked = []


def function(_name, event):
    """Fails; is told by its token and fails too late; answers. Then it is a processor, which gives what it was asked."""
    if "detail" not in event:
        return event
    asked.append(event["detail"])
    task = stepfunctions._task_tokens[event["detail"]["token"]]
    if len(asked) == 1:
        raise stepfunctions._ExecutionError("Sluice.EventFailed", "away")
    if len(asked) == 2:
        task["error"] = {"Error": "Sluice.Again", "Cause": "away"}
        task["event"].set()
        raise stepfunctions._ExecutionError("Sluice.EventFailed", "away")
    task["result"] = json.dumps({"do": "leave"})
    task["event"].set()


failures = []
stepfunctions._call_lambda = function
stepfunctions._resolve_lambda_function_ref = lambda name, optimized=False: name
stepfunctions._scaled_sleep = lambda _seconds: None
stepfunctions._add_event = lambda _execution, kind, details: failures.append(details) if kind == "TaskFailed" else None
emulator.let_tasks_fail_and_time_out_as_they_should()

text = (ROOT / "infra/state-machines/runner-2.asl.json").read_text(encoding="utf-8")
work = json.loads(text.replace("${Partition}", "aws"))["States"]["Work"]
states = work["ItemProcessor"]["States"]
context = {
    "QueryLanguage": "JSONata",
    "Execution": {"Input": {"tenantId": "dev", "runId": "a-run", "workers": [0]}},
    "State": {"Name": "a state"},
}
begins = {"worker": 0, "turn": 1, "ended": None}
does = {"timeoutSeconds": 99_999_999, "unit": {"node": "a"}, "run": {"functionArn": "a"}, "request": {"x": 1}}
does = {"worker": 0, "turn": 2, "act": {"do": "work", "seconds": 3, **does}}
said = {
    "workers": stepfunctions._jsonata_state_field(work, "Items", "array", {}, context),
    "told": stepfunctions._execute_task(states["Ask"], begins, {}, context),
    "failures": [failure["taskFailedEventDetails"]["error"] for failure in failures],
    "waited": stepfunctions._execute_wait(states["BackOff"], does, context),
    "done": stepfunctions._execute_task(states["InvokeFunction"], does, {}, context),
    "acts": [
        stepfunctions._execute_choice(states["Act"], {"act": act}, context)[1]
        for act in (
            {"do": "leave"},
            {"do": "work", "seconds": 3, "run": {"kind": "lambda"}},
            {"do": "work", "seconds": 0, "run": {"kind": "lambda"}},
            {"do": "work", "seconds": 0, "run": {"kind": "stateMachine"}},
            {"do": "work", "seconds": 0, "run": {"kind": "ecs"}},
        )
    ],
}
said["done"][0].pop("room")
print(json.dumps(said))
