//! What is known about the client at the other end of one connection.

use std::net::SocketAddr;

/// One connection's client, with the request at hand. Handlers get it with every request.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Where the client connected from.
    pub(crate) peer: SocketAddr,
    /// The address that the client reached us under. Unless the broker advertises another one, it
    /// is
    /// what Metadata answers, so that a client comes back the way it came.
    pub(crate) local: SocketAddr,
    /// The client's name for itself in this request; empty when it gave none.
    pub(crate) client_id: String,
    /// The version of this request.
    pub(crate) version: i16,
}

impl Session {
    /// The client's host as Kafka shows it in group descriptions.
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", self.peer.ip())
    }
}
