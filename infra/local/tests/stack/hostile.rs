//! What a web page that is open on a developer's machine can send to the stack: from another origin, under another name
//! (DNS rebinding), as a form, as an image, as a preflight, as a WebSocket. No port that the stack listens on lets any of it
//! in, and the emulator's, which is looked for in vain by nobody, also asks for what no page can know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use sluice_local::Credentials;

use crate::{JSON, RUNS, STACK};

/// Where a page would try to get in: the API, the emulator's own paths and services, a Runtime API, the receiver, the issuer.
const TARGETS: [&str; 9] = [
    "/",
    RUNS,
    "/_ministack/health",
    "/_ministack/reset",
    "/_ministack/config",
    "/2015-03-31/functions",
    "/2018-06-01/runtime/invocation/next",
    "/hooks/hostile",
    "/.well-known/jwks.json",
];

/// Names, ways and headers of hostile requests; `OWN` is the port's own address, `PORT` its number.
const HOSTILE: [(&str, &str, &str); 20] = [
    ("rebinding", "GET", "Host: evil.example:PORT"),
    ("rebinding, read by its page", "GET", "Host: evil.example:PORT\r\nSec-Fetch-Site: same-origin"),
    (
        "rebinding, written by its page",
        "POST",
        "Host: evil.example:PORT\r\nOrigin: http://evil.example:PORT\r\nContent-Type: application/json",
    ),
    ("rebinding without a port", "GET", "Host: evil.example"),
    ("a name that begins like ours", "GET", "Host: 127.0.0.1.evil.example:PORT"),
    ("a name that ends like ours", "GET", "Host: evil.localhost:PORT"),
    ("every address", "GET", "Host: 0.0.0.0:PORT"),
    ("another port", "GET", "Host: 127.0.0.1:1"),
    ("no host", "GET", "Accept: */*"),
    ("two hosts", "GET", "Host: OWN\r\nHost: evil.example"),
    (
        "a script's read",
        "GET",
        "Host: OWN\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors",
    ),
    ("a script's read, by an old browser", "GET", "Host: OWN\r\nOrigin: https://evil.example"),
    ("a sandboxed frame", "POST", "Host: OWN\r\nOrigin: null\r\nContent-Type: text/plain"),
    (
        "a page of another port of this machine",
        "POST",
        "Host: OWN\r\nOrigin: http://localhost:3000\r\nSec-Fetch-Site: same-site\r\nContent-Type: application/json",
    ),
    (
        "a form",
        "POST",
        "Host: OWN\r\nOrigin: https://evil.example\r\nContent-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate",
    ),
    (
        "a post without cors",
        "POST",
        "Host: OWN\r\nOrigin: https://evil.example\r\nContent-Type: text/plain\r\nSec-Fetch-Mode: no-cors",
    ),
    ("an image", "GET", "Host: OWN\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image"),
    ("a link from another port", "GET", "Host: OWN\r\nSec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate"),
    (
        "a preflight",
        "OPTIONS",
        "Host: OWN\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-amz-target,x-sluice-emulator-key\r\nAccess-Control-Request-Private-Network: true",
    ),
    (
        "a socket",
        "GET",
        "Host: OWN\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ),
];

/// Sends a request as it is; returns what came back until the connection closed or nothing more came.
fn sent(port: u16, method: &str, target: &str, headers: &str) -> String {
    let own = format!("127.0.0.1:{port}");
    let headers = headers.replace("OWN", &own).replace("PORT", &port.to_string());
    let body = if method == "POST" { r#"{"FunctionName":"hostile"}"# } else { "" };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a patience");
    let closing = if headers.contains("Upgrade") { "" } else { "Connection: close\r\n" };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    // A port that hangs up has refused as well, even before it has heard everything.
    let request = format!("{method} {target} HTTP/1.1\r\n{headers}\r\n{closing}{length}\r\n{body}");
    let _heard = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while let Ok(count) = stream.read(&mut part)
        && count > 0
    {
        answer.extend_from_slice(&part[..count]);
        if part[..count].ends_with(b"}") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// Whether an answer lets nobody in: a port that speaks TLS alone takes none of this for a handshake, and says so in an alert.
fn is_refusal(answer: &str) -> bool {
    let is_alert = answer.starts_with("\u{15}\u{3}") && answer.len() < 16;
    answer.is_empty() || is_alert || [400, 403].contains(&status(answer))
}

/// Asserts that a port answers none of the hostile requests with anything but a refusal that no page may read.
fn assert_closed(port: u16, what: &str) {
    for (name, method, headers) in HOSTILE {
        for target in TARGETS {
            let answer = sent(port, method, target, headers);
            let refused = is_refusal(&answer);
            assert!(refused, "{name} at {target} of {what} ({port}): {answer}");
            assert!(!answer.to_lowercase().contains("access-control-allow"), "{name} at {target} of {what}: {answer}");
        }
    }
    let absolute = format!("http://evil.example:{port}/");
    let answer = sent(port, "GET", &absolute, "Host: evil.example:PORT");
    assert!(is_refusal(&answer), "{absolute} of {what}: {answer}");
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok()).expect("a port")
}

/// Every port that this process or one it started listens on, with the addresses.
#[cfg(target_os = "linux")]
fn listening() -> BTreeMap<u16, BTreeSet<String>> {
    let status = |pid: &str, field: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(field).map(|rest| rest.trim().to_owned())).unwrap_or_default()
    };
    let pids = fs::read_dir("/proc").expect("processes").flatten();
    let pids: Vec<String> = pids
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    let own = std::process::id().to_string();
    let of_the_stack = |pid: &&String| {
        let mut at = (*pid).clone();
        while !at.is_empty() && at != "0" && at != own {
            at = status(&at, "PPid:");
        }
        at == own
    };
    let mut sockets = BTreeSet::new();
    for pid in pids.iter().filter(of_the_stack) {
        let folder = Path::new("/proc").join(pid).join("fd");
        for file in fs::read_dir(folder).into_iter().flatten().flatten() {
            let target = fs::read_link(file.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                sockets.insert(inode.to_owned());
            }
        }
    }
    let mut found: BTreeMap<u16, BTreeSet<String>> = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN.
            if fields[3] == "0A" && sockets.contains(fields[9]) {
                let (address, port) = fields[1].rsplit_once(':').expect("an address and a port");
                let port = u16::from_str_radix(port, 16).expect("a port");
                found.entry(port).or_default().insert(address.to_owned());
            }
        }
    }
    found
}

#[test]
#[cfg(target_os = "linux")]
fn no_port_that_the_stack_listens_on_lets_a_web_page_in() {
    // A function has come up, and with it its Runtime API.
    STACK.request_function_url("read-runs", "GET", RUNS, &[], "").expect("an answer");
    let ports = listening();
    let known = [
        ("the API", port_of(&STACK.api_url)),
        ("the emulator", port_of(&STACK.aws_endpoint_url)),
        ("the receiver", port_of(STACK.receiver.origin())),
    ];
    for (what, port) in known {
        assert!(ports.contains_key(&port), "{what} listens");
    }
    // The issuer and at least one Runtime API.
    assert!(ports.len() >= known.len() + 2, "{ports:?}");
    for (port, addresses) in ports {
        let what = known.iter().find(|(_, known)| *known == port).map_or("another port", |(what, _)| what);
        let loopback = BTreeSet::from(["0100007F".to_owned()]);
        assert_eq!(addresses, loopback, "{what} ({port}) listens on 127.0.0.1 only");
        assert_closed(port, what);
    }
}

#[test]
fn the_stacks_own_ports_let_no_web_page_in() {
    for (what, url) in [
        ("the API", &*STACK.api_url),
        ("the emulator", &STACK.aws_endpoint_url),
        ("the receiver", STACK.receiver.origin()),
    ] {
        assert_closed(port_of(url), what);
    }
}

#[test]
fn a_body_without_its_content_type_reaches_no_function() {
    let port = port_of(&STACK.api_url);
    let answer = sent(port, "POST", RUNS, "Host: OWN");
    assert_eq!(status(&answer), 415, "{answer}");
    // What a form without an origin could say is not JSON either.
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = sent(port, "POST", RUNS, &format!("Host: OWN\r\nContent-Type: {content_type}"));
        assert_eq!(status(&answer), 415, "{content_type}: {answer}");
    }
}

#[test]
fn programs_get_in_under_both_names() {
    let port = port_of(&STACK.api_url);
    for headers in
        ["Host: OWN", "Host: localhost:PORT", "Host: OWN\r\nOrigin: http://OWN\r\nSec-Fetch-Site: same-origin"]
    {
        let answer = sent(port, "GET", RUNS, headers);
        assert_eq!(status(&answer), 200, "{headers}: {answer}");
    }
}

/// What the emulator answers to a request that is signed with these credentials, sent without its key.
fn signed(target: &str, credentials: Option<&Credentials>, more: &[(&str, &str)]) -> u16 {
    let url = format!("{}{target}", STACK.aws_endpoint_url);
    let headers = STACK.sign("GET", &url, &[JSON], b"", credentials).expect("a signature");
    let mut lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    lines.extend(more.iter().map(|(name, value)| format!("{name}: {value}")));
    status(&sent(port_of(&url), "GET", target, &format!("Host: OWN\r\n{}", lines.join("\r\n"))))
}

#[test]
fn the_emulator_takes_no_credentials_but_those_of_this_start() {
    let functions = "/2015-03-31/functions";
    assert_eq!(signed(functions, None, &[]), 200, "the administrator's own");
    assert_eq!(signed(functions, None, &[("Origin", "https://evil.example")]), 403, "for a page of another origin");

    let credentials = |id: &str, secret: &str, token: Option<&str>| Credentials {
        access_key_id: id.to_owned(),
        secret_access_key: secret.to_owned(),
        session_token: token.map(str::to_owned),
    };
    let own = &STACK.credentials;
    // As ministack makes a function's from what everybody can read in the template.
    let hex = |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let known = STACK
        .aws("lambda", "get_function_configuration", json!({"FunctionName": STACK.function_name("read-runs")}))
        .expect("the function");
    let part = |name: &str| known[name].as_str().expect("a text").to_owned();
    let digest = hex(&format!("{}:{}", part("FunctionArn"), part("Role")));
    let foreseen = credentials(
        &format!("ASIA{}", digest[..16].to_uppercase()),
        &hex(&format!("secret:{digest}")),
        Some(&hex(&format!("token:{digest}"))),
    );
    for (what, guessed) in [
        ("the emulator's built-in ones", credentials("test", "test", None)),
        ("the built-in name, whatever it signs", credentials("test", "anything", None)),
        ("an account's number", credentials(STACK.account, "test", None)),
        ("another account's number", credentials("123456789012", "test", None)),
        ("the name without the secret", credentials(&own.access_key_id, "test", None)),
        ("the secret without the name", credentials("test", &own.secret_access_key, None)),
        ("the account's number with the secret", credentials(STACK.account, &own.secret_access_key, None)),
        ("a token that was never given", credentials(&own.access_key_id, &own.secret_access_key, Some("token"))),
        ("a function's, as they are without the guard", foreseen),
    ] {
        assert_eq!(signed(functions, Some(&guessed), &[]), 403, "{what}");
    }
}

#[test]
fn the_emulator_answers_nothing_unsigned_whatever_is_asked() {
    let port = port_of(&STACK.aws_endpoint_url);
    let gateway = STACK.gateway_url.strip_prefix(&STACK.aws_endpoint_url).expect("a path").to_owned();
    let url = STACK.function_urls["read-runs"].strip_prefix(&STACK.aws_endpoint_url).expect("a path").to_owned();
    for target in TARGETS.map(str::to_owned).into_iter().chain([
        format!("{gateway}{RUNS}"),
        url,
        "/_ministack/lambda-code/sluice-create-run".to_owned(),
        "/?Action=ListUsers&Version=2010-05-08".to_owned(),
        "/?Action=GetCallerIdentity&Version=2011-06-15&AWSAccessKeyId=test".to_owned(),
        "/sluice-packages?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test/20260101/us-east-1/s3/aws4_request"
            .to_owned(),
        "/oauth2/token".to_owned(),
    ]) {
        for headers in [
            "Host: OWN",
            "Host: localhost:PORT",
            "Host: OWN\r\nx-sluice-emulator-key: guessed",
            "Host: OWN\r\nx-sluice-emulator-key: ",
            "Host: OWN\r\nAuthorization: Bearer x",
            "Host: OWN\r\nAuthorization: AWS test:x",
            "Host: OWN\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\nx-amz-date: 20260101T000000Z",
        ] {
            for method in ["GET", "POST"] {
                let headers = if method == "POST" {
                    format!("{headers}\r\nContent-Type: text/plain")
                } else {
                    headers.to_owned()
                };
                let answer = sent(port, method, &target, &headers);
                assert_eq!(status(&answer), 403, "{method} {target} with {headers}: {answer}");
            }
        }
    }
}
