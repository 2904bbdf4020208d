//! What happens to every request, whichever function answers it: it is matched, answered 404 or 405, its caller asked who
//! he is, its time bounded, its answer logged and counted. A function says only what it does for each of its routes.
//!
//! **Invariants:** every request is answered: a fault would reach its caller as the gateway's bare 502. Nothing that a caller
//! wrote is in a log line but the path of the request; a refusal is logged by its codes.

use crate::http::{Event, Request, Response};
use crate::identity::IdentityConfig;
use crate::metrics;
use crate::problem::{self, Problem};
use crate::route::{self, Access, Found, FromPath, Routes};
use crate::telemetry;
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::header::RETRY_AFTER;
use lambda_runtime::{Context, Error, LambdaEvent, Runtime, service_fn};
use sluice_core::caller::Caller;
use sluice_core::flow::Refusal;
use sluice_core::flow::manage_operator::operator_only;
use sluice_core::id::RunId;
use sluice_core::ports::Clock;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tracing::Instrument;

/// What a function does, route by route.
pub trait Handler: Sync {
    type Route: Routes;

    /// Answers one request of a caller who is known.
    ///
    /// # Errors
    /// The refusal.
    fn answer(&self, asked: Asked<'_, Self::Route>) -> impl Future<Output = Result<Response, Problem>> + Send;

    /// Answers one request that is open to the network. A function without such routes is never asked.
    ///
    /// # Errors
    /// The refusal.
    fn answer_open(
        &self,
        _asked: AskedOpenly<'_, <Self::Route as Routes>::Open>,
    ) -> impl Future<Output = Result<Response, Problem>> + Send {
        async { Err(route::nowhere()) }
    }
}

/// One request of a caller who is known.
#[derive(Debug)]
pub struct Asked<'a, R> {
    pub route: R,
    pub caller: Caller,
    pub request: &'a Request,
    pub deadline: Deadline,
}

/// One request whose caller nobody was asked for.
#[derive(Debug)]
pub struct AskedOpenly<'a, R> {
    pub route: R,
    pub request: &'a Request,
    pub deadline: Deadline,
}

/// When the answer must be there: shortly before Lambda ends the invocation. `None` where nobody ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Timestamp>);

/// What is left for the answer on its way. It is less than [`telemetry::CALLS_RESERVE`]: what is known when the last call has
/// ended is told.
pub const ANSWER_RESERVE: SignedDuration = SignedDuration::from_millis(500);
/// What a wait leaves: the look after it is a call, and is given its time.
const LAST_LOOK: SignedDuration = SignedDuration::from_millis(1_500);

impl Deadline {
    fn of(context: &Context) -> Self {
        Self(telemetry::end(context).map(|end| end - ANSWER_RESERVE))
    }

    /// What is left of the time.
    pub fn left(self, now: Timestamp) -> Duration {
        self.0.map_or(Duration::MAX, |at| Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }

    /// As many seconds as somebody wants to wait, or as are left.
    pub fn seconds_to_wait(self, wanted: u32, now: Timestamp) -> u32 {
        wanted.min(u32::try_from(self.left(now + LAST_LOOK).as_secs()).unwrap_or(u32::MAX))
    }
}

/// A function that answers HTTP requests, with what all of them share.
#[derive(Clone, Debug)]
pub struct HttpFunction<H, C> {
    pub handler: H,
    pub clock: C,
    pub identity: IdentityConfig,
}

impl<H: Handler, C: Clock> HttpFunction<H, C> {
    /// Answers Lambda's invocations until it ends the process.
    ///
    /// # Errors
    /// When Lambda's runtime interface cannot be spoken to.
    pub async fn run(self) -> Result<(), Error> {
        Runtime::new(service_fn(|event: LambdaEvent<Event>| Box::pin(self.serve(event)))).run().await
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Never.
    pub async fn serve(&self, event: LambdaEvent<Event>) -> Result<Response, Infallible> {
        let (deadline, calls_end) = (Deadline::of(&event.context), telemetry::calls_end(&event.context));
        let request = Request::from(event);
        let found = Found::of(H::Route::FUNCTION, &request);
        let answer = self.before(deadline, &request, self.answer(&request, &found, deadline));
        let answer = self.clock.until(calls_end, answer.instrument(request.span.clone())).await;
        if let (Found::Route(route, _), Err(problem)) = (&found, &answer)
            && route.takes_key
        {
            metrics::run_refused(problem.kind.code);
        }
        Ok(conclude(&request, answer))
    }

    async fn answer(&self, request: &Request, found: &Found, deadline: Deadline) -> Result<Response, Problem> {
        self.identity.refuse_the_sender(request)?;
        if found.is_open() {
            let (route, mut parameters) = found.route(request)?;
            // What a token may not be for is told to nobody: not even whether a path could name a run.
            let open = <<H::Route as Routes>::Open>::from_path(route.id, &mut parameters);
            let open = open.map_err(|_unknown| Refusal::InvalidReportToken)?;
            let route = open.ok_or_else(route::nowhere)?;
            return self.handler.answer_open(AskedOpenly { route, request, deadline }).await;
        }
        // Who may not ask is told nothing of the paths.
        let caller = self.identity.caller(request)?;
        let (route, mut parameters) = found.route(request)?;
        // Others learn nothing from how the operator's requests are judged. The flows check it themselves as well.
        if let Access::Operator(what) = route.access {
            operator_only(&caller, what)?;
        }
        if route.method == "GET" && route.query.is_empty() {
            request.query(&[]).finish()?;
        }
        if !route.takes_body {
            request.no_body()?;
        }
        let asked = H::Route::from_path(route.id, &mut parameters)?;
        let route = asked.ok_or_else(route::nowhere)?;
        // Boxed: a handler's future holds the whole flow, and deeper types than that the compiler does not lay out.
        Box::pin(self.handler.answer(Asked { route, caller, request, deadline })).await
    }

    /// The answer, or 503 when there is none in time: Lambda would end the invocation, and the gateway say 502.
    async fn before(
        &self,
        deadline: Deadline,
        request: &Request,
        answer: impl Future<Output = Result<Response, Problem>>,
    ) -> Result<Response, Problem> {
        let mut answer = pin!(answer);
        let left = deadline.left(self.clock.now());
        if left == Duration::MAX {
            return answer.await;
        }
        let mut over = pin!(self.clock.sleep(left));
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            over.as_mut().poll(context).map(|()| Err(too_late(request.new_run())))
        })
        .await
    }
}

fn too_late(new_run: Option<RunId>) -> Problem {
    let detail =
        "there was no answer in time: what was asked may have been done; with an idempotency key nothing is done twice";
    let problem = Problem::new(&problem::UNAVAILABLE, detail).with_header(RETRY_AFTER, problem::RETRY_AFTER_SECONDS);
    let problem = Problem { cause: Some("the deadline of the invocation".into()), ..problem };
    match new_run {
        Some(run_id) => problem.unanswered(run_id),
        None => problem,
    }
}

/// The answer to give, logged once.
pub fn conclude(request: &Request, answer: Result<Response, Problem>) -> Response {
    let _entered = request.span.enter();
    match answer {
        Ok(response) => {
            tracing::info!(http.status = response.status(), "request answered");
            response
        }
        Err(problem) => {
            let (status, code) = (problem.kind.status, problem.kind.code);
            // Codes only: a message may repeat what the caller sent, and a pointer is made of its keys.
            let errors: Vec<&str> = problem.errors.iter().map(|fault| fault.code.as_str()).collect();
            if status >= 500 {
                let cause = problem.cause.as_deref().unwrap_or_default();
                tracing::error!(http.status = status, problem.code = code, error.cause = cause, "request failed");
            } else {
                tracing::info!(http.status = status, problem.code = code, problem.errors = ?errors, "request refused");
            }
            Response::problem(&problem, &request.id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Pattern;
    use crate::route::{ControlRunOpenRoute, ControlRunRoute, ManageDefinitionsRoute, ROUTES};
    use serde_json::{Value, json};
    use sluice_testkit::block_on;
    use sluice_testkit::clock::FixedClock;
    use std::future::pending;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    const RUN: &str = "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f";

    /// Says which route it was asked for; a pause takes for ever, and so does a replay.
    struct Control;

    impl Handler for Control {
        type Route = ControlRunRoute;

        async fn answer(&self, asked: Asked<'_, ControlRunRoute>) -> Result<Response, Problem> {
            if let ControlRunRoute::ReplayRun { run_id } = asked.route {
                asked.request.may_record(run_id);
                pending::<()>().await;
            }
            if let ControlRunRoute::PauseRun { .. } = asked.route {
                pending::<()>().await;
            }
            Ok(Response::json(200, &json!({"route": format!("{:?}", asked.route), "tenant": asked.caller.tenant})))
        }

        async fn answer_open(&self, asked: AskedOpenly<'_, ControlRunOpenRoute>) -> Result<Response, Problem> {
            Ok(Response::json(200, &json!({"route": format!("{:?}", asked.route)})))
        }
    }

    struct Manage;

    impl Handler for Manage {
        type Route = ManageDefinitionsRoute;

        async fn answer(&self, asked: Asked<'_, ManageDefinitionsRoute>) -> Result<Response, Problem> {
            Ok(Response::json(200, &json!({"route": format!("{:?}", asked.route)})))
        }
    }

    const JWT: &str = r#"{"jwt":{"claims":{"tenant_id":"dev","sub":"ada"}}}"#;
    const OPERATOR: &str = r#"{"jwt":{"claims":{"tenant_id":"dev","sub":"ada","scope":"sluice/operator"}}}"#;

    fn ask<H: Handler>(handler: H, authorizer: &str, method: &str, path: &str, ends_in: Option<i64>) -> (u16, Value) {
        ask_with(handler, authorizer, method, path, ends_in, "")
    }

    fn ask_with<H: Handler>(
        handler: H,
        authorizer: &str,
        method: &str,
        path: &str,
        ends_in: Option<i64>,
        body: &str,
    ) -> (u16, Value) {
        let clock = FixedClock::default();
        let mut context = Context::default();
        if let Some(seconds) = ends_in {
            let end = clock.now() + SignedDuration::from_secs(seconds);
            context.deadline = end.as_millisecond().unsigned_abs();
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let authorizer: Value = serde_json::from_str(authorizer).expect("JSON");
        let event = json!({
            "rawPath": path, "rawQueryString": query, "body": body, "headers": {"content-type": "application/json"},
            "requestContext": {"http": {"method": method}, "authorizer": authorizer},
        });
        let event = serde_json::from_str(&event.to_string()).expect("an event");
        let sender = Pattern::sessions_of("arn:aws:iam::123456789012:role/sluice-run-callback");
        let function =
            HttpFunction { handler, clock, identity: IdentityConfig { sender, ..IdentityConfig::for_test() } };
        let response =
            block_on(function.serve(LambdaEvent::new(event, context))).unwrap_or_else(|never| match never {});
        (response.status(), serde_json::from_str(response.body()).expect("JSON"))
    }

    #[test]
    fn a_function_is_told_which_route_and_whose_request_it_is() {
        let (status, said) = ask(Control, JWT, "DELETE", &format!("/v1/workflow-runs/{RUN}"), Some(10));
        assert_eq!((status, &said["tenant"]), (200, &json!("dev")));
        assert_eq!(said["route"], format!("DeleteRun {{ run_id: RunId({RUN}) }}"));
    }

    #[test]
    fn who_is_not_known_learns_nothing_of_the_paths() {
        for (method, path) in
            [("DELETE", "/v1/workflow-runs/x"), ("GET", "/v1/deliveries/redeliver"), ("GET", "/"), ("GET", "/v1/x/")]
        {
            assert_eq!(ask(Control, "null", method, path, None).1["code"], "unauthenticated", "{method} {path}");
        }
        for (method, path, code) in [
            ("DELETE", "/v1/workflow-runs/x", "not_found"),
            ("GET", "/v1/deliveries/redeliver", "method_not_allowed"),
            ("GET", "/", "no_route"),
            ("GET", "/v1/x/", "no_route"),
        ] {
            assert_eq!(ask(Control, JWT, method, path, None).1["code"], code, "{method} {path}");
        }
    }

    #[test]
    fn what_is_open_to_the_network_asks_nobody_who_he_is() {
        for authorizer in ["null", JWT] {
            let path = |run: &str| format!("/v1/workflow-runs/{run}/report");
            assert_eq!(ask(Control, authorizer, "POST", &path(RUN), None).0, 200);
            assert_eq!(ask(Control, authorizer, "GET", &path(RUN), None).1["code"], "method_not_allowed");
            // A path that can name no run is told as a token that is not valid.
            assert_eq!(ask(Control, authorizer, "POST", &path("x"), None).1["code"], "invalid_report_token");
        }
    }

    #[test]
    fn who_sends_webhooks_is_refused_on_every_route() {
        let arn = "arn:aws:sts::123456789012:assumed-role/sluice-run-callback/sluice-run-callback";
        let sender = json!({"iam": {"accountId": "123456789012", "userArn": arn}}).to_string();
        let other = sender.replace("run-callback/", "reconcile-runs/");
        for route in ROUTES.iter() {
            let path = route.path.replace("{runId}", RUN).replace(['{', '}'], "");
            let by = |who: &str| match route.function {
                "control-run" => ask(Control, who, route.method, &path, Some(-3)).1["code"].clone(),
                _ => ask(Manage, who, route.method, &path, Some(-3)).1["code"].clone(),
            };
            assert_eq!(by(&sender), "no_tenant", "{} {path}", route.method);
            assert_ne!(by(&other), "no_tenant", "{} {path}", route.method);
        }
        assert_eq!(ask(Control, &sender, "GET", "/", None).1["code"], "no_tenant");
    }

    #[test]
    fn what_takes_no_body_is_given_none() {
        let path = format!("/v1/workflow-runs/{RUN}/resume");
        let asked = |body: &str| {
            let (status, said) = ask_with(Control, JWT, "POST", &path, None, body);
            (status, said["errors"][0]["code"].clone())
        };
        for nothing in ["", "{}"] {
            assert_eq!(asked(nothing).0, 200, "{nothing}");
        }
        // As a webhook would be, were it sent here.
        assert_eq!(asked(r#"{"specVersion":"1","type":"workflow.run.terminal"}"#), (400, json!("unknown_field")));
    }

    /// Where a test's log lines go.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_refusal_s_log_line_has_codes_and_nothing_that_its_caller_wrote() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let path = format!("/v1/workflow-runs/{RUN}/resume");
        let said = tracing::subscriber::with_default(subscriber, || {
            ask_with(Control, JWT, "POST", &path, None, r#"{"my secret key":{"a":1,"a":2}}"#).1
        });
        assert_eq!(said["errors"][0]["pointer"], "/my secret key/a");
        let logged = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("UTF-8");
        assert!(logged.contains("request refused") && logged.contains("duplicate_key"), "{logged}");
        assert!(!logged.contains("secret"), "{logged}");
    }

    #[test]
    fn others_than_the_operator_learn_nothing_of_the_operators_paths() {
        for (method, path) in
            [("GET", "/v1/processors/a b?x=1"), ("PUT", "/v1/tenants/*"), ("GET", "/v1/compute-nodes?x=1")]
        {
            assert_eq!(ask(Manage, JWT, method, path, None).1["code"], "operator_only", "{method} {path}");
        }
        for (method, path) in [("GET", "/v1/processors/a b"), ("GET", "/v1/processors/a?x=1"), ("PUT", "/v1/tenants/*")]
        {
            let (status, said) = ask(Manage, OPERATOR, method, path, None);
            assert_eq!((status, &said["code"]), (400, &json!("invalid_request")), "{method} {path}");
        }
        assert_eq!(ask(Manage, OPERATOR, "PUT", "/v1/tenants/acme", None).0, 200);
    }

    #[test]
    fn what_takes_no_query_is_given_none() {
        for path in ["/v1/workflow-definitions/a", "/v1/workflow-definitions/a/draft", "/v1/workflow-instances/x"] {
            let (_, said) = ask(Manage, JWT, "GET", &format!("{path}?nope=1"), None);
            assert_eq!(said["errors"][0]["code"], "unknown_field", "{path}");
        }
    }

    #[test]
    fn there_is_an_answer_before_the_invocation_ends() {
        let path = format!("/v1/workflow-runs/{RUN}/pause");
        let (status, said) = ask(Control, JWT, "POST", &path, Some(10));
        assert_eq!((status, &said["code"]), (503, &json!("unavailable")));
        assert_eq!(said.get("runId"), None, "a pause makes no run");
        // What is over already is not begun for long.
        assert_eq!(ask(Control, JWT, "POST", &path, Some(-3)).0, 503);
        // Whoever asked for a run is told which one it may have been.
        let (status, said) = ask(Control, JWT, "POST", &format!("/v1/workflow-runs/{RUN}/replay"), Some(10));
        assert_eq!((status, &said["code"], &said["runId"]), (503, &json!("unavailable"), &json!(RUN)));
        assert_eq!(said["runHref"], format!("/v1/workflow-runs/{RUN}"));
    }

    #[test]
    fn a_wait_is_no_longer_than_the_time_that_is_left() {
        let now = Timestamp::UNIX_EPOCH;
        for (left_ms, wanted, waits) in [(20_000, 5, 5), (6_499, 5, 4), (2_000, 5, 0), (0, 5, 0), (-1, 5, 0)] {
            let deadline = Deadline(Some(now + SignedDuration::from_millis(left_ms)));
            assert_eq!(deadline.seconds_to_wait(wanted, now), waits, "{left_ms}");
        }
        assert_eq!(Deadline(None).seconds_to_wait(20, now), 20);
    }
}
