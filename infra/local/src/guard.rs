//! The guard in front of every port that this process listens on: a web page that is open on the machine may send requests
//! to all of them, and nobody's page may use what is behind. (In front of the emulator's ports the same rule is kept by
//! `python/emulator.py`, which asks for a key as well.)
//!
//! What a browser says is believed, since no page can choose it: `Host` is the name that the page used (another name whose
//! address was turned to this machine is DNS rebinding), `Origin` and `Sec-Fetch-Site` tell whose page asks. Programs say
//! nothing of the latter two.

use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN, USER_AGENT};
use hyper::{Request, StatusCode};

pub(crate) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request is told that must not get in.
#[derive(Debug)]
pub(crate) struct Refused {
    pub status: StatusCode,
    pub why: String,
}

/// Whether a request may get in, on the port it came to.
pub(crate) fn admit<B: Body>(request: &Request<B>, port: u16) -> Result<(), Refused> {
    admit_any(request, port)?;
    if !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_TYPE) {
        let why = "a body without a content-type".to_owned();
        return Err(Refused { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, why });
    }
    Ok(())
}

/// Whether a request may get in to a port that only programs use: functions to their Runtime API, whose bodies need not say what
/// they are. Browsers that say nothing of the requesting site are still in use, so none gets in by its name either.
pub(crate) fn admit_program<B: Body>(request: &Request<B>, port: u16) -> Result<(), Refused> {
    admit_any(request, port)?;
    let is_browser =
        request.headers().get_all(USER_AGENT).iter().any(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    let asks_as_a_page = request.headers().contains_key(ORIGIN);
    if is_browser || asks_as_a_page {
        return Err(Refused { status: StatusCode::FORBIDDEN, why: "a request of a browser".to_owned() });
    }
    Ok(())
}

fn admit_any<B: Body>(request: &Request<B>, port: u16) -> Result<(), Refused> {
    let refused = |status, why| Err(Refused { status, why });
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let named = |name: &HeaderName, allowed: &dyn Fn(&str) -> bool| {
        request.headers().get_all(name).iter().all(|value| value.to_str().is_ok_and(allowed))
    };

    let is_own =
        |host: &str| own.iter().any(|own| own == host) || port == 80 && ["127.0.0.1", "localhost"].contains(&host);
    let one_host = request.headers().get_all(HOST).iter().count() == 1 && named(&HOST, &is_own);
    let target = request.uri().authority().is_none_or(|authority| is_own(authority.as_str()));
    if !one_host || !target {
        return refused(StatusCode::FORBIDDEN, format!("a request for another host than {}", own[0]));
    }
    // A page from this very port is none of ours either, but no stranger's.
    if !named(&ORIGIN, &|origin| origin.strip_prefix("http://").is_some_and(is_own)) {
        return refused(StatusCode::FORBIDDEN, "a request of a web page of another origin".to_owned());
    }
    // `same-site` is any other port of this machine.
    if !named(&SEC_FETCH_SITE, &|site| ["none", "same-origin"].contains(&site)) {
        return refused(StatusCode::FORBIDDEN, "a request of another site's page".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;

    fn status(headers: &[(&str, &str)], body: &'static str) -> Option<u16> {
        let mut request = Request::builder().uri("/v1/workflow-runs");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<Bytes>::from(body)).expect("a request");
        admit(&request, 8787).err().map(|refused| refused.status.as_u16())
    }

    const OWN: (&str, &str) = ("host", "127.0.0.1:8787");

    #[test]
    fn programs_and_the_ports_own_pages_get_in() {
        for headers in [
            vec![OWN],
            vec![("host", "localhost:8787")],
            vec![OWN, ("origin", "http://127.0.0.1:8787"), ("sec-fetch-site", "same-origin")],
            vec![OWN, ("sec-fetch-site", "none")],
        ] {
            assert!(status(&headers, "").is_none(), "{headers:?}");
        }
        assert!(status(&[OWN, ("content-type", "application/json")], "{}").is_none());
    }

    #[test]
    fn no_other_host_gets_in() {
        for host in [
            "evil.example",
            "evil.example:8787",
            "127.0.0.1",
            "127.0.0.1:8788",
            "127.0.0.1.evil.example:8787",
            "localhost.evil.example:8787",
            "localhost:8787.evil.example",
            "127.0.0.2:8787",
            "0.0.0.0:8787",
            "[::1]:8787",
            "LOCALHOST:8787@evil.example",
            "",
        ] {
            assert_eq!(status(&[("host", host)], ""), Some(403), "{host}");
        }
        assert_eq!(status(&[], ""), Some(403), "none");
        assert_eq!(status(&[OWN, ("host", "evil.example")], ""), Some(403), "two");
        let absolute =
            Request::builder().uri("http://evil.example/v1").header("host", OWN.1).body(Full::<Bytes>::default());
        assert!(admit(&absolute.expect("a request"), 8787).is_err(), "an absolute target");
    }

    #[test]
    fn no_page_of_another_origin_gets_in() {
        for origin in [
            "http://evil.example",
            "https://127.0.0.1:8787",
            "http://127.0.0.1:3000",
            "http://localhost",
            "http://127.0.0.1:8787.evil.example",
            "null",
            "",
        ] {
            assert_eq!(status(&[OWN, ("origin", origin)], ""), Some(403), "{origin}");
        }
        for site in ["cross-site", "same-site", "", "something-new"] {
            assert_eq!(status(&[OWN, ("sec-fetch-site", site)], ""), Some(403), "{site}");
        }
    }

    #[test]
    fn a_body_says_what_it_is() {
        assert_eq!(status(&[OWN], "{}"), Some(415));
    }
}
