//! A receiver that never answers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

/// A place on this machine that takes connections and never says a word.
pub struct Silence {
    pub address: SocketAddr,
}

impl Silence {
    pub fn listen() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        // Kept open for as long as the journeys last.
        thread::spawn(move || listener.incoming().collect::<Vec<_>>());
        Self { address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
