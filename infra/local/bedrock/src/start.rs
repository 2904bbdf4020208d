//! A stand-in as it runs: one thread, its ports, and its end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use crate::certificate::{Certificate, CertificateError};
use crate::control::{self, KeysBody};
use crate::door;
use crate::prices::{InvalidTable, PriceTable};
use crate::service::Service;
use crate::signature::{Key, Keys};

/// Why there is no stand-in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} failed: {cause}")]
    Io { what: &'static str, cause: io::Error },
    #[error(transparent)]
    Certificate(CertificateError),
    #[error(transparent)]
    Prices(InvalidTable),
    #[error("the keys cannot be read: {0}")]
    Keys(serde_json::Error),
}

/// What it is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the door; 0 lets the system choose.
    pub port: u16,
    /// Of a second door without TLS, where one is wanted.
    pub plain_port: Option<u16>,
    pub control_port: u16,
    pub keys: Keys,
    /// A table of prices, as JSON; the one that is built in where there is none.
    pub prices: Option<String>,
    /// Where the authority of the door's certificate is written.
    pub authority_path: Option<PathBuf>,
    /// Milliseconds before each frame of a stream, where a call does not say.
    pub pause_ms: u64,
}

impl Options {
    /// For a test: ports that are free, a plain door too, one key, no pauses.
    pub fn test() -> Self {
        let key = Key {
            access_key_id: "ASIASTANDIN".to_owned(),
            secret_access_key: "a secret of tests".to_owned(),
            session_token: Some("a session of tests".to_owned()),
        };
        let keys = Keys {
            keys: vec![key],
            bearer_tokens: vec!["a-token-of-tests".to_owned()],
            region: "us-east-1".to_owned(),
        };
        let (port, plain_port, control_port) = (0, Some(0), 0);
        Self { port, plain_port, control_port, keys, prices: None, authority_path: None, pause_ms: 0 }
    }

    /// Who may call, as the control port takes it too, with a `region`.
    ///
    /// # Errors
    /// When it is not of that form.
    pub fn keys(text: &str) -> Result<Keys, Error> {
        let keys: KeysBody = serde_json::from_str(text).map_err(Error::Keys)?;
        Ok(keys.into())
    }
}

/// A stand-in that serves until it is dropped.
pub struct Bedrock {
    /// `https://localhost:PORT`.
    pub door_url: String,
    /// `http://127.0.0.1:PORT`.
    pub plain_url: Option<String>,
    /// `http://127.0.0.1:PORT`.
    pub control_url: String,
    /// What callers have to trust.
    pub authority_pem: String,
    service: Arc<Service>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bedrock {
    /// Listens on 127.0.0.1 only.
    ///
    /// # Errors
    /// When a port is taken, a file cannot be written, or the prices are none.
    pub fn start(options: Options) -> Result<Self, Error> {
        let io = |what| move |cause| Error::Io { what, cause };
        let prices =
            options.prices.as_deref().map_or_else(PriceTable::built_in, PriceTable::parse).map_err(Error::Prices)?;
        let certificate = Certificate::made("Sluice's stand-in for Bedrock").map_err(Error::Certificate)?;
        if let Some(path) = &options.authority_path {
            std::fs::write(path, &certificate.authority_pem).map_err(io("writing the authority's certificate"))?;
        }
        let listen = |port| door::listen(port).map_err(io("listening on 127.0.0.1"));
        let (tls, tls_address) = listen(options.port)?;
        let (control, control_address) = listen(options.control_port)?;
        let plain = options.plain_port.map(listen).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(io("starting the thread"))?;
        let service = Arc::new(Service::new(options.keys, prices, options.pause_ms));
        let (server, of_tls) = (certificate.server, Arc::clone(&service));
        runtime
            .spawn(door::accept(tls, move |stream| door::serve_tls(stream, Arc::clone(&server), Arc::clone(&of_tls))));
        let of_control = Arc::clone(&service);
        runtime.spawn(door::accept(control, move |stream| {
            control::serve(stream, control_address.port(), Arc::clone(&of_control))
        }));
        let plain_url = plain.map(|(plain, address)| {
            let of_plain = Arc::clone(&service);
            runtime.spawn(door::accept(plain, move |stream| door::serve_plain(stream, Arc::clone(&of_plain))));
            format!("http://{address}")
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            // An error means that the sender is gone, which is a stop as well.
            drop(runtime.block_on(stopped));
            runtime.shutdown_background();
        });
        Ok(Self {
            door_url: format!("https://localhost:{}", tls_address.port()),
            plain_url,
            control_url: format!("http://{control_address}"),
            authority_pem: certificate.authority_pem,
            service,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The books, and how calls are to go.
    pub fn service(&self) -> &Service {
        &self.service
    }
}

impl Drop for Bedrock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
