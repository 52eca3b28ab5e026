//! What is known about the client at the other end of one connection, and what it may do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use crate::auth::Principal;
use crate::auth::acl::{Asker, CLUSTER_NAME, Operation, ResourceType};
use crate::auth::authorizer::Authorizer;
use crate::listener::Listener;
use crate::lock::lock;

/// One connection's client, with the request at hand. Handlers get it with every request.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Where the client connected from.
    pub(crate) peer: SocketAddr,
    /// The address that the client reached us under. Unless the listener advertises another one, it
    /// is what Metadata answers, so that a client comes back the way it came.
    pub(crate) local: SocketAddr,
    /// The listener that the client came to.
    pub(crate) listener: Arc<Listener>,
    /// Who the client is; nobody in particular until it has authenticated.
    pub(crate) principal: Principal,
    /// The client's name for itself in this request; empty when it gave none.
    pub(crate) client_id: String,
    /// The version of this request.
    pub(crate) version: i16,
    /// The size of this request's body.
    pub(crate) request_bytes: usize,
    /// Until when the connection takes no more requests: its client is over its quota.
    pub(crate) pause: Arc<Pause>,
    /// The client's address as ACLs name it.
    host: Arc<str>,
    authorizer: Arc<Authorizer>,
}

/// A pause that handlers give to a connection, and that it keeps.
#[derive(Debug, Default)]
pub(crate) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// From now on; one that is longer stays.
    pub(crate) fn begin(&self, length: Duration) {
        let until = Instant::now().checked_add(length);
        let mut present = lock(&self.0);
        *present = (*present).max(until);
    }

    /// None: it is over.
    pub(crate) fn until(&self) -> Option<Instant> {
        lock(&self.0).filter(|until| *until > Instant::now())
    }
}

impl Session {
    pub(crate) fn new(
        peer: SocketAddr,
        local: SocketAddr,
        listener: Arc<Listener>,
        authorizer: Arc<Authorizer>,
    ) -> Session {
        Session {
            peer,
            local,
            listener,
            principal: Principal::anonymous(),
            client_id: String::new(),
            version: 0,
            request_bytes: 0,
            pause: Arc::default(),
            host: peer.ip().to_canonical().to_string().into(),
            authorizer,
        }
    }

    /// The client's host as Kafka shows it in group descriptions.
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", self.peer.ip())
    }

    /// Host and port under which this client finds the broker again.
    pub(crate) fn advertised(&self) -> (String, i32) {
        self.listener.advertised(self.local)
    }

    /// True if the client may do that to the resource of that name.
    pub(crate) fn may(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        self.authorizer.may(self.asker(), operation, kind, name)
    }

    /// True if the client may do that to the broker as a whole.
    pub(crate) fn may_cluster(&self, operation: Operation) -> bool {
        self.may(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// True if there may be a resource of that kind to which the client may do that.
    pub(crate) fn may_some(&self, operation: Operation, kind: ResourceType) -> bool {
        self.authorizer.may_some(self.asker(), operation, kind)
    }

    /// Kafka's error for the kind of resource, with a line in the log, unless the client may.
    pub(crate) fn authorize(
        &self,
        operation: Operation,
        kind: ResourceType,
        name: &str,
    ) -> Result<(), ResponseError> {
        if self.may(operation, kind, name) {
            return Ok(());
        }
        let principal = self.principal.to_string();
        tracing::info!(peer = %self.peer, principal, ?operation, "denied on {kind:?} {name:?}");
        Err(kind.authorization_failed())
    }

    /// As [`authorize`](Self::authorize), for the broker as a whole.
    pub(crate) fn authorize_cluster(&self, operation: Operation) -> Result<(), ResponseError> {
        self.authorize(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// What the client may do to that resource, as bits of Kafka's operation numbers.
    pub(crate) fn operations(&self, kind: ResourceType, name: &str) -> i32 {
        self.authorizer.operations(self.asker(), kind, name)
    }

    /// What the client may do to the broker as a whole; nothing is told to those who may not
    /// describe it.
    pub(crate) fn cluster_operations(&self) -> i32 {
        match self.may_cluster(Operation::Describe) {
            true => self.operations(ResourceType::Cluster, CLUSTER_NAME),
            false => 0,
        }
    }

    fn asker(&self) -> Asker<'_> {
        Asker { principal: &self.principal, host: &self.host }
    }
}
