//! Looks a request up in the table.
//!
//! A path is matched segment by segment, percent-decoded after it is split. No segment of a route is empty: a path with a
//! slash at its end, or with two that meet, is none of this API, as it is none of the gateway's.

use super::operation::Access;
use super::parameter::Parameters;
use super::table::{ROUTES, Route};
use crate::http::Request;
use crate::problem::{self, Problem};
use lambda_http::http::header::ALLOW;

/// What a function's part of the table says of a request.
#[derive(Debug)]
pub enum Found {
    Route(&'static Route, Vec<(&'static str, String)>),
    /// The path takes other methods, those of these routes.
    OtherMethods(Vec<&'static Route>),
    Nowhere,
}

impl Found {
    /// Looks a request up among the routes of one function: behind its own URL it knows no others.
    pub fn of(function: &str, request: &Request) -> Self {
        let segments = request.segments();
        let mut others = Vec::new();
        for route in ROUTES.iter().filter(|route| route.function == function) {
            if let Some(parameters) = parameters(route, &segments) {
                if route.method == request.method.as_str() {
                    return Self::Route(route, parameters);
                }
                others.push(route);
            }
        }
        if others.is_empty() { Self::Nowhere } else { Self::OtherMethods(others) }
    }

    /// Whether everything at this path is open to the network: then nobody is asked who he is.
    pub fn is_open(&self) -> bool {
        let is_open = |route: &Route| route.access == Access::ReportToken;
        match self {
            Self::Route(route, _) => is_open(route),
            Self::OtherMethods(routes) => routes.iter().all(|route| is_open(route)),
            Self::Nowhere => false,
        }
    }

    /// The route with the parameters of the request's path.
    ///
    /// # Errors
    /// 405 with `Allow`, 404 `no_route`.
    pub fn route<'a>(&self, request: &'a Request) -> Result<(&'static Route, Parameters<'a>), Problem> {
        match self {
            Self::Route(route, parameters) => Ok((route, Parameters::new(request, parameters.clone()))),
            Self::OtherMethods(routes) => {
                let allowed = routes.iter().map(|route| route.method).collect::<Vec<_>>().join(", ");
                let detail = format!("{} takes {allowed}", request.path);
                Err(Problem::new(&problem::METHOD_NOT_ALLOWED, detail).with_header(ALLOW, allowed))
            }
            Self::Nowhere => Err(nowhere()),
        }
    }
}

/// What is said of a path that is none of the function's.
pub(crate) fn nowhere() -> Problem {
    Problem::new(&problem::NO_ROUTE, "the path is none of this API")
}

/// The texts of a path's segments where a route's template has parameters; `None` for another path.
fn parameters(route: &Route, segments: &[String]) -> Option<Vec<(&'static str, String)>> {
    let template: Vec<&'static str> = route.path.split('/').skip(1).collect();
    if template.len() != segments.len() {
        return None;
    }
    let mut parameters = Vec::new();
    for (want, have) in template.into_iter().zip(segments) {
        match want.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !have.is_empty() => parameters.push((name, have.clone())),
            None if want == have => {}
            Some(_) | None => return None,
        }
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Event;
    use crate::route::{
        CancelRunRoute, ControlRunRoute, CreateRunRoute, DeliveryNumber, FromPath, InvokeDefinitionRoute,
        ManageDefinitionsRoute, OPERATIONS, PathParameter, ReadRunsRoute, RouteId, Routes, VersionNumber,
    };
    use lambda_runtime::{Context, LambdaEvent};
    use serde_json::json;
    use std::collections::BTreeSet;

    const RUN: &str = "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f";

    fn request(method: &str, path: &str) -> Request {
        let event = json!({"rawPath": path, "requestContext": {"http": {"method": method}}}).to_string();
        let event: Event = serde_json::from_str(&event).expect("an event");
        Request::from(LambdaEvent::new(event, Context::default()))
    }

    /// The route's path with a text in each place of a parameter.
    fn filled(route: &Route, text: &str) -> String {
        let segments = route.path.split('/').map(|part| if part.starts_with('{') { text } else { part });
        segments.collect::<Vec<_>>().join("/")
    }

    fn code<T>(answer: Result<T, Problem>) -> &'static str {
        answer.err().map_or("", |problem| problem.kind.code)
    }

    #[test]
    fn every_row_is_the_route_of_its_name() {
        let mut names = BTreeSet::new();
        for (route, operation) in ROUTES.iter().zip(OPERATIONS) {
            assert_eq!((route.name, route.path), (operation.name, operation.path));
            assert_eq!(format!("{:?}", route.id).to_lowercase(), route.name.to_lowercase());
            assert!(route.path.starts_with('/') && names.insert(route.name), "{}", route.name);
            assert!(route.method == "GET" || route.query.is_empty(), "{} has a query that nobody checks", route.name);
            assert!(!route.takes_key || route.takes_body, "{}", route.name);
        }
        assert_eq!(ROUTES.len(), OPERATIONS.len());
        let asked: BTreeSet<(&str, &str)> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!(asked.len(), ROUTES.len(), "no two rows are for one request");
    }

    #[test]
    fn a_request_finds_its_route_and_no_other() {
        for route in ROUTES {
            let request = request(route.method, &filled(route, RUN));
            let Found::Route(found, parameters) = Found::of(route.function, &request) else {
                panic!("{} is not found", route.name)
            };
            assert_eq!(found.id, route.id);
            assert!(parameters.iter().all(|(name, text)| text == RUN && route.path.contains(&format!("{{{name}}}"))));
        }
    }

    /// Whether it is one of the function's. Its variant takes as many parameters as its template has, or this panics.
    fn is_one<R: Routes>(route: &Route) -> bool {
        let request = request(route.method, "/");
        let texts = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        // A text that each kind of parameter takes: a version is none of the others.
        let text = |name| {
            if matches!(name, "version" | "number" | "sequence" | "itemIndex" | "iteration") { "7" } else { RUN }
        };
        let mut parameters = Parameters::new(&request, texts.map(|name| (name, text(name).to_owned())).collect());
        match route.access {
            Access::ReportToken => R::Open::from_path(route.id, &mut parameters).expect("parameters").is_some(),
            Access::Tenant | Access::Operator(_) => {
                R::from_path(route.id, &mut parameters).expect("parameters").is_some()
            }
        }
    }

    #[test]
    fn a_function_takes_every_parameter_of_its_own_routes_and_knows_no_others() {
        fn check<R: Routes>(route: &Route) {
            assert_eq!(is_one::<R>(route), route.function == R::FUNCTION, "{} by {}", route.name, R::FUNCTION);
        }
        for route in ROUTES {
            check::<CancelRunRoute>(route);
            check::<ControlRunRoute>(route);
            check::<CreateRunRoute>(route);
            check::<InvokeDefinitionRoute>(route);
            check::<ManageDefinitionsRoute>(route);
            check::<ReadRunsRoute>(route);
        }
    }

    #[test]
    fn the_parameters_of_a_variant_stand_as_in_its_template() {
        let route = request("POST", &format!("/v1/workflow-runs/{RUN}/deliveries/3/redeliver"));
        let (_, mut parameters) = Found::of("control-run", &route).route(&route).expect("a route");
        let found = ControlRunRoute::from_path(RouteId::RedeliverDelivery, &mut parameters).expect("parameters");
        let run_id = RUN.parse().expect("an id");
        assert_eq!(found, Some(ControlRunRoute::RedeliverDelivery { run_id, number: DeliveryNumber(3) }));
    }

    #[test]
    fn a_path_with_an_empty_segment_is_none_of_the_api() {
        for route in ROUTES {
            let path = filled(route, RUN);
            let doubled = |at: usize| format!("{}/{}", &path[..at], &path[at..]);
            let ends = [format!("{path}/"), format!("{path}//")];
            let inside = path.match_indices('/').map(|(at, _)| doubled(at));
            for path in inside.chain(ends).chain([filled(route, "")].into_iter().filter(|filled| *filled != path)) {
                let request = request(route.method, &path);
                assert_eq!(code(Found::of(route.function, &request).route(&request)), "no_route", "{path}");
            }
        }
    }

    #[test]
    fn a_method_that_a_path_does_not_take_is_told_those_that_it_takes() {
        for route in ROUTES {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "get"] {
                let request = request(method, &filled(route, RUN));
                let taken: Vec<&str> = ROUTES
                    .iter()
                    .filter(|other| other.function == route.function && other.path == route.path)
                    .map(|other| other.method)
                    .collect();
                let answer = Found::of(route.function, &request).route(&request);
                if taken.contains(&method) {
                    assert!(answer.is_ok(), "{method} {}", route.path);
                } else {
                    let problem = answer.expect_err("refused");
                    let said = problem.header.as_deref().map(|(name, value)| (name.as_str(), value.as_str()));
                    assert_eq!(said, Some(("allow", taken.join(", ").as_str())), "{method} {}", route.path);
                    assert_eq!(problem.kind.status, 405);
                }
            }
        }
    }

    #[test]
    fn a_function_knows_no_route_of_another() {
        for route in ROUTES {
            let functions: BTreeSet<&str> = ROUTES.iter().map(|route| route.function).collect();
            for other in functions.into_iter().filter(|other| *other != route.function) {
                let request = request(route.method, &filled(route, RUN));
                assert!(!matches!(Found::of(other, &request), Found::Route(..)), "{} by {other}", route.name);
            }
        }
    }

    #[test]
    fn segments_are_decoded_after_they_are_split() {
        assert_eq!(request("GET", "/v1/a%2Fb/%C3%A9+/%FF").segments(), ["v1", "a/b", "é+", "\u{FFFD}"]);
        assert_eq!(request("GET", "").segments(), [""]);
    }

    #[test]
    fn a_number_has_one_spelling() {
        for text in ["0", "01", "+1", "-1", "1.0", "4294967296", "x", "１"] {
            assert!(
                VersionNumber::read("version", text).is_err() && DeliveryNumber::read("number", text).is_err(),
                "{text}"
            );
        }
        assert_eq!(DeliveryNumber::read("number", "4294967295").ok(), Some(DeliveryNumber(u32::MAX)));
    }
}
